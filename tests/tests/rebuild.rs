//! The state tables are a view of the log: emptied and filled again from it, not a row differs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use portreeve_api::decision::v1 as decision;
use portreeve_api::referral::v1 as referral;
use portreeve_api::reporting::v1::ReportDefinition;
use portreeve_tests::{Database, Part, Server, on_both_engines, sample};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

on_both_engines!(rebuilding_changes_no_row);

async fn rebuilding_changes_no_row(database: &Database) {
    let (server, clock) = Server::suite_at(database, "2020-01-01T00:00:00Z").await;
    let client = server.client("operators/op");
    sample::register(&client).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut citations = Vec::new();
    for (platform, _) in sample::PLATFORMS {
        citations.push(sample::clause(&client, platform, "fees").await.0);
    }
    let mut organisations = client.organisations();
    let mut open = Vec::<(referral::Referral, u32)>::new();
    let mut all = Vec::<String>::new();
    // Some is erased as time goes by, some by request.
    let policy = referral::SetRetentionPolicyRequest {
        name: "agencies/bka/retentionPolicy".into(),
        rules: vec![referral::RetentionRule {
            field_group: referral::FieldGroup::Reasons.into(),
            retention_class: referral::RetentionClass::SevenDays.into(),
        }],
        etag: String::new(),
        request_id: sample::request_id("policy"),
    };
    client.acting("agencies/bka").retention().set_retention_policy(policy).await.unwrap();
    let mut at_least = Vec::new();
    for step in 0..240_i64 {
        // Two steps in a batch of time, so that some events share their day and some their instant.
        clock.set(portreeve_tests::Timestamp::from_micros(1_577_836_800_000_000 + step / 2 * 50_000_000_000));
        let id = format!("step {step}");
        match random.random_range(0..12) {
            0..=3 => {
                let platform = random.random_range(0..3);
                let agency = sample::AGENCIES[random.random_range(0..2)];
                let (sent, revision) = sample::refer(&client, agency, sample::PLATFORMS[platform].0, &id).await;
                all.push(sent.name.clone());
                open.push((sent, 0));
                at_least = vec![revision];
            }
            4 => {
                let drafts = (0..20).map(|item| sample::draft("lensgram", &format!("{step}-{item}")));
                let request = referral::BatchCreateReferralsRequest {
                    parent: "agencies/nca".into(),
                    drafts: drafts.collect(),
                    request_id: sample::request_id(&id),
                };
                let mut nca = client.acting("agencies/nca").referrals();
                let reply = nca.batch_create_referrals(request).await.unwrap().into_inner();
                open.extend(reply.referrals.into_iter().map(|sent| (sent, 0)));
                at_least = vec![reply.revision];
            }
            5 => {
                let request = referral::UpdateOrganisationRequest {
                    organisation: Some(referral::Organisation {
                        name: "platforms/chirrup".into(),
                        display_name: format!("Chirrup {step}"),
                        hosts: vec!["chirrup.example".into(), format!("c{step}.example")],
                        ..referral::Organisation::default()
                    }),
                    update_mask: None,
                    request_id: sample::request_id(&id),
                };
                organisations.update_organisation(request).await.unwrap();
            }
            6 if !open.is_empty() => {
                let (sent, _) = open.swap_remove(random.random_range(0..open.len()));
                let mut agency = client.acting(&sent.agency).referrals();
                let reply = agency.withdraw_referral(sample::withdraw(&sent.name, &id)).await.unwrap().into_inner();
                at_least = vec![reply.revision];
            }
            7 | 8 if !all.is_empty() => {
                let name = all[random.random_range(0..all.len())].clone();
                let groups = [referral::FieldGroup::Target, referral::FieldGroup::Reasons, referral::FieldGroup::Grade];
                let chosen = random.random_range(1..8_u8);
                let groups = (0..3).filter(|group| chosen & 1 << group != 0).map(|group| groups[group].into());
                let (agency, _) = name.split_once("/referrals").unwrap();
                let request = referral::EraseReferralRequest {
                    name: name.clone(),
                    field_groups: groups.collect(),
                    reason: "No longer needed.".into(),
                    request_id: sample::request_id(&id),
                };
                client.acting(agency).retention().erase_referral(request).await.unwrap();
            }
            _ if open.is_empty() => {}
            _ => {
                let chosen = random.random_range(0..open.len());
                let (sent, versions) = &mut open[chosen];
                let case = sample::case_of(sent);
                let platform = sent.platform.strip_prefix("platforms/").unwrap().to_owned();
                let mut decisions = client.acting(&sent.platform).decisions();
                let request = decision::GetCaseRequest { name: case.clone(), at_least: at_least.clone() };
                decisions.get_case(request).await.unwrap();
                let request =
                    sample::acknowledge(&platform, std::slice::from_ref(&case), &format!("acknowledge {case}"));
                decisions.acknowledge_cases(request).await.unwrap();
                let citation = citations.iter().find(|citation| citation.clause.starts_with(&sent.platform)).unwrap();
                let draft = if random.random_bool(0.5) { sample::closed() } else { sample::permitted(citation) };
                let draft = decision::DecisionDraft { explanation: id.clone(), ..draft };
                let draft = match *versions {
                    0 => draft,
                    _ => sample::later(decision::DecisionKind::Amended, draft),
                };
                let reply = decisions.record_decision(sample::record(&case, draft, &id)).await.unwrap().into_inner();
                *versions += 1;
                assert_eq!(reply.decision.unwrap().version, *versions);
            }
        }
    }
    // Everything has arrived everywhere.
    let last = decision::ListCasesRequest {
        parent: "platforms/chirrup".into(),
        at_least: at_least.clone(),
        ..decision::ListCasesRequest::default()
    };
    let reached = client.acting("platforms/chirrup").decisions().list_cases(last).await.unwrap().into_inner().revisions;
    let definition = ReportDefinition {
        cohort_from_date: "2020-01-01".into(),
        cohort_until_date: "2020-12-31".into(),
        as_of_date: "2020-12-31".into(),
        ..ReportDefinition::default()
    };
    let report = client.report(definition.clone(), &reached).await.unwrap();
    assert!(report.total.as_ref().unwrap().counts.as_ref().unwrap().referred > 100);

    for compacted in [false, true] {
        for part in Part::ALL {
            let head = server.head(part).await;
            if compacted {
                // What streams no longer start from, a rebuild still reads.
                assert_eq!(server.compact(part, head / 2).await, head / 2);
            }
            let before = server.dump(part).await;
            assert!(before.len() > 20, "{part:?} has {} rows", before.len());
            assert_eq!(server.rebuild(part).await, head, "{part:?}");
            let after = server.dump(part).await;
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before, after, "{part:?}");
            }
            assert_eq!(before.len(), after.len(), "{part:?}");
            assert_eq!(server.head(part).await, head);
        }
    }
    assert_eq!(client.report(definition, &reached).await.unwrap().digest, report.digest);
    // And it goes on from there.
    let (_, revision) = sample::refer(&client, "nca", "lensgram", "after").await;
    let request = decision::ListCasesRequest {
        parent: "platforms/lensgram".into(),
        at_least: vec![revision],
        ..decision::ListCasesRequest::default()
    };
    assert!(client.acting("platforms/lensgram").decisions().list_cases(request).await.is_ok());
}
