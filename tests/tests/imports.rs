//! Files of other tools come in through the command line: a MISP object of each kind, an XARF report as the specification's own sample,
//! and a CSV file; what is bad is refused with the reason, and can be corrected and imported.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use portreeve_api::common::v1::{TargetKind, Tlp};
use portreeve_api::referral::v1 as referral;
use portreeve_tests::{Client, Fixture, Server, process, sample};
use serde_json::{Value, json};

/// `xarf/xarf-spec` at 37820dac, samples/v4: as it stands there.
const XARF: &str = include_str!("../data/xarf_v4_sample_content-fraud.json");

const USUAL: [&str; 8] = [
    "--platform",
    "platforms/chirrup",
    "--nature",
    "voluntary-referral",
    "--ground",
    "offer-transport-sea",
    "--statute",
    "Immigration Act 1971",
];

struct World {
    _fixture: Fixture,
    server: Server,
    client: Client,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let fixture = Fixture::sqlite();
        let server = Server::suite(&fixture.database).await;
        let client = server.client("operators/op");
        sample::register(&client).await;
        Self { _fixture: fixture, server, client, folder: tempfile::tempdir().unwrap() }
    }

    /// Imports a file in a format; gives the code and what was said.
    fn import(&self, name: &str, text: &str, more: &[&str]) -> (i32, String) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let url = self.server.url();
        let file = path.to_string_lossy();
        let common = ["import", &file, "--server", &url, "--as", "agencies/nca", "--roles", "import"];
        process::run(Path::new("."), &[&common[..], more].concat())
    }

    fn rejects(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    async fn referrals(&self) -> Vec<referral::Referral> {
        let request = referral::ListReferralsRequest { parent: "agencies/nca".into(), ..Default::default() };
        self.client.acting("agencies/nca").referrals().list_referrals(request).await.unwrap().into_inner().referrals
    }
}

fn object(name: &str, uuid: &str, attributes: &[(&str, &str)]) -> Value {
    let attribute =
        |(relation, value): &(&str, &str)| json!({"object_relation": relation, "type": "text", "value": value});
    let attributes = attributes.iter().map(attribute).collect::<Vec<_>>();
    json!({"name": name, "uuid": uuid, "comment": "Offers places on a boat.", "Attribute": attributes})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misp_object_of_each_kind_becomes_a_referral_once() {
    let world = World::new().await;
    let objects = [
        object("facebook-page", "a1", &[("url", "https://chirrup.example/pages/1"), ("page-id", "11")]),
        object("facebook-group", "a2", &[("link", "https://chirrup.example/groups/2"), ("privacy", "Closed")]),
        object("facebook-post", "a3", &[("url", "https://chirrup.example/posts/3"), ("language", "sq")]),
        object("social-media-group", "a4", &[("link", "https://chirrup.example/groups/4")]),
        object("instant-message-group", "a5", &[("url", "https://chirrup.example/join/5"), ("app-used", "Signal")]),
        object("file", "a6", &[("filename", "boat.png")]),
        object("facebook-page", "a7", &[("page-name", "no address")]),
    ];
    let event = json!({"Event": {"info": "Boats", "Tag": [{"name": "tlp:green"}], "Object": objects}}).to_string();
    let (code, said) = world.import("event.json", &event, &[&["--format", "misp"], &USUAL[..]].concat());
    assert!(code == 1 && said.contains("7 rows: 5 imported, 0 already there, 2 refused"), "{said}");
    let referrals = world.referrals().await;
    let kinds = referrals.iter().map(|referral| referral.target.as_ref().unwrap().kind()).collect::<Vec<_>>();
    assert_eq!(kinds, [TargetKind::Page, TargetKind::Group, TargetKind::Post, TargetKind::Group, TargetKind::Group]);
    assert!(referrals.iter().all(|referral| referral.handling.as_ref().unwrap().tlp() == Tlp::Green));
    assert_eq!(referrals[2].content_language, "sq");
    assert_eq!(referrals[0].target.as_ref().unwrap().native_id, "11");
    let rejects = world.rejects("event.rejects.csv");
    assert!(rejects.contains("none of the objects that can be referred"), "{rejects}");
    assert!(rejects.contains("the object has neither url nor link"), "{rejects}");
    // Again: nothing is done twice.
    let (_, said) = world.import("event.json", &event, &[&["--format", "misp"], &USUAL[..]].concat());
    assert!(said.contains("7 rows: 0 imported, 5 already there, 2 refused"), "{said}");
    // What was refused is corrected and imported as any file.
    let corrected = rejects.lines().filter(|line| !line.contains("none of the objects"));
    let corrected = corrected.map(|line| line.replacen(",page,,", ",page,https://chirrup.example/pages/7,", 1));
    let corrected = corrected.map(|line| line + "\n").collect::<String>();
    let (code, said) = world.import("corrected.csv", &corrected, &[]);
    assert!(code == 0 && said.contains("1 rows: 1 imported"), "{said} {corrected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_xarf_report_becomes_a_referral_with_its_own_date() {
    let world = World::new().await;
    let mut operator = world.client.organisations();
    let fraud = sample::organisation("platforms/investments", &["crypto-scam-invest.example.com"]);
    operator.create_organisation(fraud).await.unwrap();
    let mut usual = USUAL.map(str::to_owned).to_vec();
    usual[1] = "platforms/investments".to_owned();
    let usual = usual.iter().map(String::as_str).collect::<Vec<_>>();
    let (code, said) = world.import("report.json", XARF, &[&["--format", "xarf"], &usual[..]].concat());
    assert!(code == 0 && said.contains("1 rows: 1 imported"), "{said}");
    let [referral] = &world.referrals().await[..] else { panic!("one") };
    assert_eq!(referral.occurred_at, Some(sample::time("2025-01-11T16:22:45Z")));
    assert!(referral.statement_of_reasons.starts_with("Fake cryptocurrency investment platform"), "{referral:?}");
    // A bad one is refused with everything that is wrong, and another category as what it is.
    let mut bad: Value = serde_json::from_str(XARF).unwrap();
    bad["category"] = json!("connection");
    bad["timestamp"] = json!("yesterday");
    let bad = bad.to_string();
    let (code, said) = world.import("bad.json", &bad, &[&["--format", "xarf"], &usual[..]].concat());
    assert!(code == 1 && said.contains("1 refused"), "{said}");
    let rejects = world.rejects("bad.rejects.csv");
    assert!(rejects.contains("is no content") && rejects.contains("is no time"), "{rejects}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_is_refused_as_a_whole() {
    let world = World::new().await;
    for (format, text, why) in [
        ("misp", "{}", "is no MISP event"),
        ("misp", "[1, 2", "is no JSON"),
        ("xarf", "{\"report_id\": 1}", "is no XARF report"),
    ] {
        let (code, said) = world.import("none.json", text, &[&["--format", format], &USUAL[..]].concat());
        assert!(code == 2 && said.contains(why), "{said}");
    }
    let (code, said) = world.import("none.json", "{}", &["--format", "misp", "--nature", "voluntary-referral"]);
    assert!(code == 2 && said.contains("give --platform, --ground, --statute"), "{said}");
    assert!(world.referrals().await.is_empty());
}
