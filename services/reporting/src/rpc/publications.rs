//! `PublicationService`.

use portreeve_api::reporting::v1 as wire;
use portreeve_core::name::OrganisationName;
use portreeve_core::token::Page;
use portreeve_core::{Error, Reason, Result, limits};
use portreeve_runtime::status::IntoStatus as _;
use portreeve_runtime::watch::filter_hash;
use portreeve_runtime::wire::{
    guard, must_say, page_size, position_key, principal, read_position, revision, violations,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};
use wire::publication_service_server::PublicationService;

use super::convert::{Moment, read_definition, write_definition, write_report_with};
use super::publication_convert::write_publication;
use super::{Rpc, compute};
use crate::domain::publication::{Digest, minimum, no_publication};
use crate::domain::{Command, Definition, Event, Permitted, Publication, PublicationName, Source};
use crate::store::SERVICE;

#[tonic::async_trait]
impl PublicationService for Rpc {
    async fn publish_report(
        &self,
        request: Request<wire::PublishReportRequest>,
    ) -> Result<Response<wire::PublishReportResponse>, Status> {
        self.publish(request).await.map(Response::new).or_status()
    }

    async fn get_publication(
        &self,
        request: Request<wire::GetPublicationRequest>,
    ) -> Result<Response<wire::GetPublicationResponse>, Status> {
        self.publication(request).await.map(Response::new).or_status()
    }

    async fn list_publications(
        &self,
        request: Request<wire::ListPublicationsRequest>,
    ) -> Result<Response<wire::ListPublicationsResponse>, Status> {
        self.publications(request).await.map(Response::new).or_status()
    }
}

impl Rpc {
    async fn publish(&self, request: Request<wire::PublishReportRequest>) -> Result<wire::PublishReportResponse> {
        let caller = principal(&request)?;
        let message = request.into_inner();
        let (now, mut violations) = (self.clock.now(), violations(&message));
        must_say(&mut violations, "title", &message.title);
        must_say(&mut violations, "reason", &message.reason);
        let shown = minimum(message.small_cell_minimum);
        if shown.is_none() && message.small_cell_minimum < limits::GRANT_SMALL_CELL_FLOOR {
            let least = limits::GRANT_SMALL_CELL_FLOOR;
            violations.add("small_cell_minimum", format_args!("must be 0 for {least}, 1 for all, or at least {least}"));
        }
        let definition = read_definition(&mut violations, message.definition.as_ref(), Moment::Told);
        if definition.as_ref().is_some_and(|of| of.known_at.is_some()) {
            violations.add("definition.known_at_date", "must be empty: what is known on the day of publication counts");
        }
        let content = wire::PublishReportRequest { request_id: String::new(), at_least: Vec::new(), ..message.clone() };
        let guard = guard("PublishReport", &message.request_id, &content);
        if definition.as_ref().and_then(|of| of.as_of).is_some_and(|day| day >= now.date()) {
            violations.add_late("definition.as_of_date", "must be over: what is not over is not published");
        }
        let (((definition, shown), guard), in_time) = violations.finish_in_time(definition.zip(shown).zip(guard))?;
        let guard = guard.unless_too_late(in_time);
        let permitted = Permitted::to_publish(&caller, definition)?;
        self.caught_up(&message.at_least).await?;
        let proposed = self.counted(&permitted, caller.organisation(), shown, message.title, message.reason).await?;
        let question = proposed.question;
        let outcome = self.submit(&caller, guard, Command::Publish(Box::new(proposed))).await?;
        let published = outcome.events.iter().find_map(|recorded| match &recorded.event {
            Event::ReportPublished(version) => Some((**version).clone()),
            _ => None,
        });
        let version = if let Some(version) = published {
            version
        } else {
            // Nothing had changed: the version that stands.
            let standing = self.parts.reads.answer(question).await?;
            standing.ok_or_else(|| Error::internal("figures that were published are not there"))?
        };
        let before = self.before(&version).await?;
        Ok(wire::PublishReportResponse {
            publication: Some(write_publication(&version, version.version, before.as_ref())),
            revision: revision(SERVICE, &outcome),
            replayed: outcome.replayed,
        })
    }

    /// What would be published: counted now, with all that it was counted from.
    async fn counted(
        &self,
        permitted: &Permitted,
        publisher: &OrganisationName,
        shown: u32,
        title: String,
        reason: String,
    ) -> Result<Publication> {
        let selected = self.parts.reads.select(permitted).await?;
        let now = self.clock.now();
        let report = write_report_with(&compute(permitted, &selected, now.date()), withholding(shown))?;
        let figures = wire::Report { rows: report.rows.clone(), total: report.total.clone(), ..Default::default() };
        let report = report.encode_to_vec();
        check_size(report.len())?;
        let own = |source: Source| selected.followed.iter().find(|of| of.log == source.name()).cloned();
        Ok(Publication {
            id: self.ids.uuid(now),
            version: 0,
            publisher: publisher.clone(),
            title,
            minimum: shown,
            reason,
            question: question(permitted.definition(), publisher, shown),
            figures: Sha256::digest(figures.encode_to_vec()).into(),
            counted_at: selected.own.position,
            followed: Source::ALL.into_iter().filter_map(own).collect(),
            published_at: now,
            report,
        })
    }

    /// The version before a version, with which it is compared.
    async fn before(&self, version: &Publication) -> Result<Option<Publication>> {
        if version.version < 2 {
            return Ok(None);
        }
        let name = PublicationName { id: version.id, version: Some(version.version - 1) };
        Ok(self.parts.reads.publication(name).await?.map(|(before, _)| before))
    }

    async fn publication(&self, request: Request<wire::GetPublicationRequest>) -> Result<wire::GetPublicationResponse> {
        let message = request.into_inner();
        // What is no name the contract's own rule refuses.
        let name = violations(&message).finish(message.name.parse::<PublicationName>().ok())?;
        let revisions = self.caught_up(&message.at_least).await?;
        let (version, latest) = self.parts.reads.publication(name).await?.ok_or_else(|| no_publication(name))?;
        let before = self.before(&version).await?;
        let publication = Some(write_publication(&version, latest, before.as_ref()));
        Ok(wire::GetPublicationResponse { publication, revisions })
    }

    async fn publications(
        &self,
        request: Request<wire::ListPublicationsRequest>,
    ) -> Result<wire::ListPublicationsResponse> {
        let message = request.into_inner();
        violations(&message).into_result()?;
        let content = wire::ListPublicationsRequest { publisher: message.publisher.clone(), ..Default::default() };
        let query = filter_hash("ListPublications", &message.publisher, &content);
        let after = read_position(Page::decode(&message.page_token, query)?)?;
        let revisions = self.caught_up(&message.at_least).await?;
        let limit = page_size(message.page_size);
        let found = self.parts.reads.publications(&message.publisher, after, limit).await?;
        let last = found.last().filter(|_| found.len() == limit).map(|(at, ..)| position_key(*at));
        Ok(wire::ListPublicationsResponse {
            next_page_token: last.map(|after| Page { query, after }.encode()).unwrap_or_default(),
            publications: found.iter().map(|(_, version, latest)| write_publication(version, *latest, None)).collect(),
            revisions,
        })
    }
}

/// Below which counts are withheld; `None` if none are.
pub(crate) const fn withholding(minimum: u32) -> Option<u32> {
    if minimum > 1 { Some(minimum) } else { None }
}

/// What is asked, and by whom.
fn question(definition: &Definition, publisher: &OrganisationName, minimum: u32) -> Digest {
    let mut hasher = Sha256::new();
    for part in [publisher.to_string().into_bytes(), write_definition(&definition.question()).encode_to_vec()] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(&part);
    }
    hasher.update(minimum.to_be_bytes());
    hasher.finalize().into()
}

/// Refuses a report that is too large to be kept as an event.
fn check_size(bytes: usize) -> Result<()> {
    let maximum = limits::PUBLICATION_BYTES_MAX;
    if bytes <= maximum {
        return Ok(());
    }
    let message = "the report is larger than what is published; divide it by less, or filter it";
    Err(Error::new(Reason::LimitExceeded, message)
        .with("limit", "PUBLICATION_BYTES_MAX")
        .with("maximum", maximum)
        .with("actual", bytes))
}

#[cfg(test)]
mod tests {
    use portreeve_core::Date;

    use super::*;
    use crate::domain::Filter;

    #[test]
    fn a_question_is_its_publishers_and_has_its_minimum() {
        let day = Date::default();
        let definition = Definition {
            cohort_from: day,
            cohort_until: day,
            entered_from: None,
            as_of: Some(day),
            known_at: None,
            dimensions: vec![],
            filter: Filter::default(),
        };
        let (nca, bka) = ("agencies/nca".parse().unwrap(), "agencies/bka".parse().unwrap());
        let asked = question(&definition, &nca, 5);
        assert_eq!(asked, question(&Definition { known_at: Some(day), ..definition.clone() }, &nca, 5));
        assert_ne!(asked, question(&definition, &bka, 5));
        assert_ne!(asked, question(&definition, &nca, 1));
        assert_ne!(asked, question(&Definition { as_of: None, ..definition }, &nca, 5));
    }

    #[test]
    fn what_is_kept_as_an_event_has_a_limit() {
        assert!(check_size(limits::PUBLICATION_BYTES_MAX).is_ok());
        let refused = check_size(limits::PUBLICATION_BYTES_MAX + 1).map_err(|error| error.reason());
        assert_eq!(refused, Err(Reason::LimitExceeded));
    }
}
