//! MISP events and objects (misp-objects: facebook-page, facebook-group, facebook-post, social-media-group and instant-message-group).

use portreeve_api::common::v1::{TargetKind, Tlp};
use serde_json::Value;

use super::foreign::{Found, each, text};
use crate::cli::words::typed;

/// An object that can be a target: its name, what kind of thing it is, and which of its relations is the platform's own identifier.
const OBJECTS: [(&str, TargetKind, &str); 5] = [
    ("facebook-page", TargetKind::Page, "page-id"),
    ("facebook-group", TargetKind::Group, "id"),
    ("facebook-post", TargetKind::Post, "post-id"),
    ("social-media-group", TargetKind::Group, ""),
    ("instant-message-group", TargetKind::Group, ""),
];

/// What the things in a file say. The error says why the file is none of MISP's.
pub(super) fn read(value: &Value) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    // The answer of a search is a list of events in `response`.
    for value in each(value.get("response").unwrap_or(value)) {
        let event = value.get("Event").unwrap_or(value);
        let objects = event.get("Object").or_else(|| event.get("object"));
        let objects = match objects {
            Some(objects) => each(objects),
            None if event.get("Attribute").is_some() && event.get("name").is_some() => vec![event],
            None if event.get("Attribute").is_some() => {
                return Err("has no object: attributes that stand alone are not referred".to_owned());
            }
            None => return Err("is no MISP event and no MISP object: it has neither Object nor Attribute".to_owned()),
        };
        let tags = tags(event);
        found.extend(objects.into_iter().filter(|object| !deleted(object)).map(|object| thing(object, &tags)));
    }
    if found.is_empty() { Err("has no object".to_owned()) } else { Ok(found) }
}

fn tags(value: &Value) -> Vec<String> {
    let tags = value.get("Tag").map(each).unwrap_or_default();
    tags.into_iter().map(|tag| text(tag, "name").to_lowercase()).collect()
}

fn thing(object: &Value, tags_of_event: &[String]) -> Found {
    let mut found = Found { id: text(object, "uuid").to_lowercase(), ..Found::default() };
    let name = text(object, "name");
    let Some((_, kind, id)) = OBJECTS.iter().find(|(known, ..)| *known == name) else {
        let known = OBJECTS.map(|(name, ..)| name).join(", ");
        found.refuse("kind", format!("{name:?} is none of the objects that can be referred: {known}"));
        return found;
    };
    found.say("kind", typed(*kind));
    let mut attributes = object.get("Attribute").map(each).unwrap_or_default();
    attributes.retain(|attribute| !deleted(attribute));
    let of = |relation: &str| {
        let values = attributes.iter().filter(|attribute| text(attribute, "object_relation") == relation);
        values.map(|attribute| text(attribute, "value")).find(|value| !value.trim().is_empty())
    };
    // Both are addresses of the thing; `url` is an indicator, `link` is not.
    match of("url").or_else(|| of("link")) {
        Some(url) => found.say("url", url),
        None => found.refuse("url", "the object has neither url nor link"),
    }
    if let Some(native) = Some(*id).filter(|id| !id.is_empty()).and_then(of) {
        found.say("native_id", native);
    }
    if let Some(language) = of("language") {
        found.say("content_language", language);
    }
    let said = [text(object, "comment"), of("description").unwrap_or_default(), of("post").unwrap_or_default()];
    found.say("reasons", said.iter().filter(|said| !said.is_empty()).copied().collect::<Vec<_>>().join("\n"));
    if of("removal-date").is_some() {
        found.refuse(
            "url",
            "the object says when the content was removed (removal-date): there is nothing left to refer",
        );
    }
    let own = attributes.iter().flat_map(|attribute| tags(attribute));
    mark(&mut found, tags_of_event.iter().cloned().chain(own));
    found
}

/// Whether MISP keeps it as deleted.
fn deleted(value: &Value) -> bool {
    value.get("deleted").is_some_and(|deleted| *deleted == Value::Bool(true) || *deleted == 1 || *deleted == "1")
}

/// The strictest of the TLP tags. What the target must not notice cannot be asked for, and what is not known is not made laxer.
pub(super) fn mark(found: &mut Found, tags: impl Iterator<Item = String>) {
    let mut strictest = None::<Tlp>;
    for tag in tags {
        let tlp = match tag.trim() {
            "tlp:red" => Tlp::Red,
            "tlp:amber+strict" => Tlp::AmberStrict,
            "tlp:amber" => Tlp::Amber,
            "tlp:green" => Tlp::Green,
            "tlp:clear" | "tlp:white" => Tlp::Clear,
            "pap:red" | "pap:amber" => {
                let message = format!("{tag} forbids what the target can notice, and a closure is that");
                found.refuse("url", message);
                continue;
            }
            tag if tag.starts_with("tlp:") => {
                found.refuse("tlp", format!("{tag} is no mark that is known"));
                continue;
            }
            _ => continue,
        };
        strictest = Some(strictest.map_or(tlp, |known| if i32::from(tlp) > i32::from(known) { tlp } else { known }));
    }
    if let Some(tlp) = strictest {
        found.say("tlp", typed(tlp));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attribute(relation: &str, value: &str) -> Value {
        json!({"object_relation": relation, "type": "text", "value": value})
    }

    fn said<'f>(found: &'f Found, column: &str) -> &'f str {
        found.says.iter().find(|(known, _)| *known == column).map_or("", |(_, text)| text.as_str())
    }

    #[test]
    fn an_object_of_each_kind_is_read() {
        for (name, kind, id) in OBJECTS {
            let attributes =
                [attribute("link", "https://hb.example/1"), attribute(id, "77"), attribute("description", "Boats")];
            let object = json!({"name": name, "uuid": "u-1", "comment": "Seen by an officer", "Attribute": attributes});
            let event =
                json!({"Event": {"Tag": [{"name": "tlp:amber"}, {"name": "tlp:white"}], "Object": [object.clone()]}});
            for (value, tlp) in [(&event, typed(Tlp::Amber)), (&object, String::new())] {
                let found = read(value).unwrap();
                let [found] = &found[..] else { panic!("{found:?}") };
                assert!(found.wrong.is_empty(), "{found:?}");
                assert_eq!(found.id, "u-1");
                assert_eq!(said(found, "kind"), typed(kind));
                assert_eq!(said(found, "url"), "https://hb.example/1");
                assert_eq!(said(found, "native_id"), if id.is_empty() { "" } else { "77" });
                assert_eq!(said(found, "reasons"), "Seen by an officer\nBoats");
                assert_eq!(said(found, "tlp"), tlp);
            }
        }
    }

    #[test]
    fn what_cannot_be_referred_says_why() {
        let refused = |value: Value| {
            let found = read(&value).unwrap();
            found[0].wrong.iter().map(|(column, _)| column.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(refused(json!({"name": "file", "uuid": "u", "Attribute": []})), "kind");
        assert_eq!(refused(json!({"name": "facebook-page", "uuid": "u", "Attribute": []})), "url");
        let gone = [attribute("url", "https://hb.example/1"), attribute("removal-date", "2023-01-01T00:00:00")];
        assert_eq!(refused(json!({"name": "facebook-post", "uuid": "u", "Attribute": gone})), "url");
        let object =
            json!({"name": "facebook-page", "uuid": "u", "Attribute": [attribute("url", "https://hb.example/1")]});
        assert_eq!(refused(json!({"Event": {"Tag": [{"name": "PAP:RED"}], "Object": [object]}})), "url");
        for none in [json!({}), json!([]), json!({"Event": {"info": "nothing"}}), json!("text"), json!({"Object": []})]
        {
            assert!(read(&none).is_err(), "{none}");
        }
        let alone = json!({"Event": {"Attribute": [attribute("url", "https://hb.example/1")]}});
        assert!(read(&alone).unwrap_err().contains("stand alone"));
    }
}
