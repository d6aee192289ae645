//! Files of other tools come in through the command line: a MISP object of each kind, an XARF report as the specification's own sample,
//! and a CSV file or a spreadsheet; what is bad is refused with the reason, and can be corrected and imported.

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
    fn import(&self, name: &str, text: impl AsRef<[u8]>, more: &[&str]) -> (i32, String) {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_spreadsheet_is_imported_as_a_csv_file_is() {
    const COLUMNS: [&str; 9] =
        ["platform", "kind", "url", "nature", "ground", "statute", "reasons", "reasons_language", "occurred_at"];
    const CELLS: [&str; 6] =
        ["page", "", "voluntary-referral", "offer-transport-sea", "Immigration Act 1971", "Offers places"];
    let world = World::new().await;
    let mut book = rust_xlsxwriter::Workbook::new();
    book.add_worksheet().set_name("Notes").unwrap().write(0, 0, "Not for import").unwrap();
    let sheet = book.add_worksheet().set_name("Jan-May").unwrap();
    sheet.write_row(1, 0, COLUMNS).unwrap();
    let date = rust_xlsxwriter::Format::new().set_num_format("dd.mm.yyyy hh:mm");
    // One platform for all, and a row that nobody has filled.
    sheet.merge_range(2, 0, 5, 0, "chirrup", &rust_xlsxwriter::Format::new()).unwrap();
    for (row, url) in [(2, "https://chirrup.example/old/1"), (3, "https://chirrup.example/old/2"), (5, "")] {
        sheet.write_row(row, 1, CELLS).unwrap();
        sheet.write(row, 2, url).unwrap().write(row, 7, "en").unwrap();
        // 6 January 2020, a quarter past nine.
        sheet.write_number_with_format(row, 8, 43_836.385_416_666_664, &date).unwrap();
    }
    sheet.write(5, 2, rust_xlsxwriter::Formula::new("=1/0").set_result("#DIV/0!")).unwrap();
    let bytes = book.save_to_buffer().unwrap();
    let (code, said) = world.import("old.xlsx", &bytes, &["--format", "xlsx"]);
    assert!(code == 2 && said.contains("has several sheets: name one of Notes, Jan-May with --sheet"), "{said}");
    let (code, said) = world.import("old.xlsx", &bytes, &["--sheet", "Jan-May"]);
    assert!(code == 2 && said.contains("--format xlsx"), "{said}");
    let sheet = ["--format", "xlsx", "--sheet", "Jan-May"];
    let (code, said) = world.import("old.xlsx", &bytes, &sheet);
    assert!(code == 1 && said.contains("3 rows: 2 imported, 0 already there, 1 refused"), "{said}");
    let referrals = world.referrals().await;
    assert_eq!(referrals.len(), 2);
    assert_eq!(referrals[0].occurred_at, Some(sample::time("2020-01-06T09:15:00Z")));
    let rejects = world.rejects("old.rejects.csv");
    assert!(rejects.contains("C6: url is the error #DIV/0!"), "{rejects}");
    // Again nothing is done twice, and the same rows as CSV are the same requests.
    let (_, said) = world.import("old.xlsx", &bytes, &sheet);
    assert!(said.contains("3 rows: 0 imported, 2 already there, 1 refused"), "{said}");
    let row = |number: usize| {
        let url = format!("https://chirrup.example/old/{number}");
        format!(
            "chirrup,page,{url},voluntary-referral,offer-transport-sea,Immigration Act 1971,Offers places,en,2020-01-06T09:15:00Z\n"
        )
    };
    let csv = COLUMNS.join(",") + "\n" + &row(1) + &row(2);
    let (code, said) = world.import("old.csv", csv, &[]);
    assert!(code == 0 && said.contains("2 rows: 0 imported, 2 already there"), "{said}");
    // What was refused is corrected, and what the server refuses names its cell too.
    let corrected = rejects.replace("chirrup,page,,", "chirrup,page,https://chirrup.example/old/3,");
    let (code, said) = world.import("corrected.csv", corrected, &[]);
    assert!(code == 0 && said.contains("1 rows: 1 imported"), "{said}");
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_row(0, 0, COLUMNS).unwrap().write(1, 0, "chirrup").unwrap().write_row(1, 1, CELLS).unwrap();
    sheet.write(1, 2, "https://elsewhere.example/1").unwrap().write(1, 7, "en").unwrap();
    let (code, said) = world.import("elsewhere.xlsx", book.save_to_buffer().unwrap(), &["--format", "xlsx"]);
    assert!(code == 1 && said.contains("1 refused"), "{said}");
    let rejects = world.rejects("elsewhere.rejects.csv");
    assert!(rejects.contains("URL_OF_ANOTHER_PLATFORM") && rejects.contains("C2: url"), "{rejects}");
    let (code, said) = world.import("none.xlsx", "platform,kind\n", &["--format", "xlsx"]);
    assert!(code == 2 && said.contains("is damaged, or is no .xlsx"), "{said}");
}
