//! The binary as its users meet it: its commands against its own server, their output and their exit codes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use portreeve_core::time::{Clock as _, SystemClock};

fn portreeve() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    // What this shell, or the tests themselves, are configured with must not configure it.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PORTREEVE_")) {
        command.env_remove(variable);
    }
    command
}

/// A server of its own, on a free port, ended with the test.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut process = portreeve()
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--database"])
            .arg(format!("sqlite:{}", folder.display()))
            // Where a server is started, the variable of the client commands may be set.
            .env("PORTREEVE_AS", "agencies/nca")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        assert!(line.contains("open") && line.contains("this machine only"), "{line}");
        Self { process, url }
    }

    fn run(&self, acting: &str, arguments: &[&str]) -> Output {
        portreeve().args(arguments).args(["--server", &self.url, "--as", acting]).output().unwrap()
    }

    fn done(&self, acting: &str, arguments: &[&str]) -> String {
        let output = self.run(acting, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SUM: &str = "1,218 referred  =  578 closed  +  485 not in breach  +  155 undecided  +  0 other";

#[test]
fn the_demo_comes_to_the_published_totals() {
    let output = portreeve().arg("demo").output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}\n{}", text(&output.stderr));
    for line in [SUM, "harbourbook: requests@1", "CHA0051", "is synthetic", "With the undecided (Kaplan-Meier)"] {
        assert!(shown.contains(line), "{line:?} is missing in\n{shown}");
    }
}

#[test]
fn the_demo_can_be_played_twice_and_the_tables_be_rebuilt_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let play = || portreeve().args(["demo", "--server", &server.url]).output().unwrap();
    let (first, second) = (play(), play());
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert_eq!(text(&first.stdout), text(&second.stdout));

    let report = ["report", "--cohort", "2020-01..2020-05", "--as-of", "2020-09-03", "--by", "platform,clause"];
    let csv =
        |server: &Server| server.done("oversightBodies/home-affairs", &[&report[..], &["--format", "csv"]].concat());
    let before = csv(&server);
    assert!(before.lines().last().unwrap().starts_with("total,"), "{before}");
    drop(server);
    let database = format!("sqlite:{}", folder.path().display());
    let rebuilt = portreeve().args(["rebuild", "--database", &database]).output().unwrap();
    assert_eq!(rebuilt.status.code(), Some(0), "{}", text(&rebuilt.stderr));
    assert!(text(&rebuilt.stdout).contains("referral: rebuilt from 1,223 events"), "{}", text(&rebuilt.stdout));
    assert_eq!(csv(&Server::start(folder.path())), before);
}

#[test]
fn a_file_with_bad_rows_is_imported_without_them_and_explains_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let operator = "operators/local";
    server.done(operator, &["organisation", "create", "agencies/nca", "--name", "National Crime Agency"]);
    for id in ["harbourbook", "chirrup"] {
        let host = format!("{id}.example");
        server.done(operator, &["organisation", "create", &format!("platforms/{id}"), "--name", id, "--host", &host]);
    }
    let row = |url: &str, rest: &str| {
        format!(
            "harbourbook,page,{url},voluntary-referral,OFFER_TRANSPORT_SEA,Immigration Act 1971,Offers {rest},en,2020-01-06T09:00:00Z\n"
        )
    };
    let mut file = b"platform,kind,url,nature,ground,statute,reasons,reasons_language,occurred_at\n".to_vec();
    file.extend(row("https://harbourbook.example/1", "crossings").bytes());
    file.extend(row("https://chirrup.example/2", "crossings").bytes());
    file.extend(row("javascript:alert(1)", "crossings").bytes());
    file.extend(row("https://harbourbook.example/4", "caf\u{e9}").chars().map(|c| u8::try_from(c).unwrap()));
    file.extend(row("https://harbourbook.example/5", "crossings").replace("page", "boat").bytes());
    file.extend(row("https://harbourbook.example/6", "crossings").replace("2020-01", "9020-01").bytes());
    file.extend(row("https://harbourbook.example/7", "crossings").bytes());
    let path = folder.path().join("pages.csv");
    std::fs::write(&path, file).unwrap();
    let import = |roles: &[&str]| server.run("agencies/nca", &[&["import", path.to_str().unwrap()], roles].concat());

    // Facts of long ago need the role; without it every row is refused, and none stored.
    let refused = import(&[]);
    assert!(
        text(&refused.stdout).contains("7 rows: 0 imported, 0 already there, 7 refused"),
        "{}",
        text(&refused.stdout)
    );

    let first = import(&["--roles", "import"]);
    assert_eq!(first.status.code(), Some(1));
    assert!(text(&first.stdout).contains("7 rows: 2 imported, 0 already there, 5 refused"), "{}", text(&first.stdout));
    let rejects = std::fs::read(folder.path().join("pages.rejects.csv")).unwrap();
    let rejects = text(&rejects);
    assert!(rejects.starts_with(
        "platform,kind,url,nature,ground,statute,reasons,reasons_language,occurred_at,reason,message,field\n"
    ));
    assert_eq!(rejects.lines().count(), 6, "{rejects}");
    let line =
        |part: &str| rejects.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {rejects}"));
    assert!(line("chirrup.example/2").contains("URL_OF_ANOTHER_PLATFORM"));
    assert!(line("javascript:").ends_with(",url"));
    assert!(line("harbourbook.example/4").contains("is not UTF-8"));
    assert!(line("harbourbook.example/5").ends_with(",kind"));
    assert!(line("harbourbook.example/6").ends_with(",occurred_at"));

    let second = import(&["--roles", "import"]);
    assert!(
        text(&second.stdout).contains("7 rows: 0 imported, 2 already there, 5 refused"),
        "{}",
        text(&second.stdout)
    );
}

#[test]
fn a_case_goes_through_the_command_line_from_referral_to_report() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.done("operators/local", &["organisation", "create", "agencies/nca", "--name", "NCA"]);
    let host = ["--host", "harbourbook.example"];
    let create = ["organisation", "create", "platforms/harbourbook", "--name", "Harbourbook"];
    server.done("operators/local", &[&create[..], &host].concat());
    let refer = [
        "refer",
        "https://harbourbook.example/pages/1",
        "--platform",
        "platforms/harbourbook",
        "--nature",
        "voluntary-referral",
        "--ground",
        "solicitation-of-service",
        "--statute",
        "Immigration Act 1971",
        "--reasons",
        "Asks",
    ];
    let referred = server.done("agencies/nca", &refer);
    let uuid = referred.lines().next().unwrap().rsplit('/').next().unwrap().to_owned();

    let platform = "platforms/harbourbook";
    let changes = server.done(platform, &["watch", "cases", "--from", "earliest", "--count", "1"]);
    assert!(changes.contains(&uuid) && changes.contains("\"resumeToken\""), "{changes}");
    let clause = [
        "clause",
        "add",
        "requests",
        "--title",
        "Requests",
        "--text-digest",
        &"0".repeat(64),
        "--effective-from",
        "2019-01-01",
        "--permits",
        "Asking",
    ];
    server.done(platform, &clause);

    // Receipt comes before the decision, and a decision that permits names its clause.
    let decide = ["decide", &uuid, "--outcome", "no-action-permitted-by-policy"];
    let early = server.run(platform, &[&decide[..], &["--clauses", "requests@1"]].concat());
    assert_eq!(early.status.code(), Some(1));
    assert!(text(&early.stderr).starts_with("error: INVALID_TRANSITION:"), "{}", text(&early.stderr));
    let inbox = server.done(platform, &["inbox", "--status", "submitted", "--acknowledge"]);
    assert!(inbox.contains(&uuid), "{inbox}");
    let bare = server.run(platform, &decide);
    assert!(
        text(&bare.stderr).contains("what to do:") && text(&bare.stderr).contains("clauses"),
        "{}",
        text(&bare.stderr)
    );
    let decided = server.done(platform, &[&decide[..], &["--clauses", "requests@1"]].concat());
    let revision = decided.lines().find_map(|line| line.strip_prefix("revision: ")).unwrap().to_owned();

    let day = server.done("agencies/nca", &["inbox", "--format", "json"]);
    let day = day.split("\"submittedAt\":\"").nth(1).unwrap().get(..10).unwrap().to_owned();
    let report = server
        .done("agencies/nca", &["report", "--cohort", &day, "--by", "disposition,clause", "--at-least", &revision]);
    assert!(report.contains("1 referred  =  0 closed  +  1 not in breach  +  0 undecided  +  0 other"), "{report}");
    assert!(report.contains("harbourbook: requests@1"), "{report}");

    // Who looked is known, and why.
    server.done(platform, &["inbox", "--member", "t.safety", "--justification", "Queue of the morning"]);
    let audit = ["consultations", "--of", "agencies/nca", "--roles", "auditor", "--member", "a.uditor"];
    let seen = server.done("agencies/nca", &audit);
    let line = seen.lines().find(|line| line.contains("t.safety")).unwrap_or_else(|| panic!("{seen}"));
    for part in ["DISCLOSURE", "agencies/nca", platform, "ListCases", &uuid, "Queue of the morning"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let unnamed = server.run("agencies/nca", &audit[..5]);
    assert!(text(&unnamed.stderr).starts_with("error: AUDITOR_UNNAMED:"), "{}", text(&unnamed.stderr));
    let proved = server.done("agencies/nca", &["verify", "log", "--log", "decision", "--access"]);
    assert!(proved.contains("are those that were signed"), "{proved}");
}

#[test]
fn researchers_ask_under_a_grant_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let play = portreeve().args(["demo", "--server", &server.url]).output().unwrap();
    assert_eq!(play.status.code(), Some(0), "{}", text(&play.stderr));
    server.done("operators/local", &["organisation", "create", "researchers/lab", "--name", "Lab"]);
    let committee = "oversightBodies/home-affairs";
    let issue = ["grant", "issue", "researchers/lab", "--purpose", "Time to decide", "--until", "2999-01-01"];
    let terms = ["--cohort", "2020-01..2020-05", "--by", "platform,clause", "--minimum", "40", "--budget", "2"];
    let refused = server.run(committee, &[&issue[..], &terms, &["--roles", "supervisor"]].concat());
    assert!(text(&refused.stderr).contains("at most 1096 days"), "{}", text(&refused.stderr));
    let until = SystemClock.now().plus_micros(86_400_000_000).to_string();
    let issue = [&issue[..6], &[until.as_str()], &terms, &["--roles", "supervisor"]].concat();
    let issued = server.done(committee, &issue);
    let name = issued.lines().next().unwrap().strip_prefix("issued: ").unwrap().to_owned();

    let lab = "researchers/lab";
    let report = ["report", "--grant", &name, "--cohort", "2020-01..2020-05", "--as-of", "2020-09-03", "--by"];
    let shown = server.done(lab, &[&report[..], &["platform"]].concat());
    // Chirrup and Lensgram left 30 and 35 undecided, of 155 in all.
    for part in [SUM, "× is withheld, so that no count below 40 is known"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let chirrup = shown.lines().find(|line| line.contains("chirrup")).unwrap();
    assert!(chirrup.contains("215") && chirrup.contains('×') && !chirrup.contains(" 30 "), "{shown}");
    let csv = server.done(lab, &[&report[..], &["platform", "--format", "csv"]].concat());
    assert!(csv.lines().next().unwrap().ends_with(",withheld"), "{csv}");
    let spent = server.run(lab, &[&report[..], &["platform"]].concat());
    assert!(text(&spent.stderr).starts_with("error: QUERY_BUDGET_SPENT:"), "{}", text(&spent.stderr));
    let none = server.run(lab, &[&["report"], &report[3..], &["platform"]].concat());
    assert!(text(&none.stderr).starts_with("error: PERMISSION_DENIED:"), "{}", text(&none.stderr));
    let shown = server.done(lab, &["grant", "show", &name]);
    for part in ["IN_FORCE", "0 left of 2", "platform, clause", "2020-01-01..2020-05-31", "Time to decide"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    server.done(committee, &["grant", "revoke", &name, "--reason", "Given up", "--roles", "supervisor"]);
    let listed = server.done(lab, &["grant", "list"]);
    assert!(listed.contains(&name) && listed.contains("REVOKED"), "{listed}");
}

#[test]
fn what_went_wrong_is_told_by_the_exit_code() {
    let nobody = ["organisation", "list", "--as", "agencies/nca", "--server", "http://127.0.0.1:1"];
    let unreachable = portreeve().args(nobody).output().unwrap();
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(text(&unreachable.stderr).contains("portreeve serve"), "{}", text(&unreachable.stderr));
    for wrong in [&["report"][..], &["organisation", "list"], &["import", "/nowhere.csv", "--agency", "agencies/nca"]] {
        assert_eq!(portreeve().args(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
    let unknown = portreeve().args(["config", "show"]).env("PORTREEVE_LISTNE", "x").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("PORTREEVE_LISTNE"), "{}", text(&unknown.stderr));
    let open = portreeve().args(["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(open.status.code(), Some(2));
    assert!(text(&open.stderr).contains("loopback"), "{}", text(&open.stderr));
    let shown = portreeve().args(["config", "show", "--database", "postgres://u:secret@db/x"]).output().unwrap();
    assert!(
        !text(&shown.stdout).contains("secret") && text(&shown.stdout).contains("database = "),
        "{}",
        text(&shown.stdout)
    );
    for shell in ["bash", "zsh", "fish"] {
        assert_eq!(portreeve().args(["completions", shell]).output().unwrap().status.code(), Some(0));
    }
}

#[test]
fn agencies_share_under_an_agreement_what_is_marked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let [nca, bka, platform] = ["agencies/nca", "agencies/bka", "platforms/harbourbook"];
    for agency in [nca, bka] {
        server.done("operators/local", &["organisation", "create", agency, "--name", agency]);
    }
    let host = ["--name", "Harbourbook", "--host", "harbourbook.example"];
    server.done("operators/local", &[&["organisation", "create", platform][..], &host].concat());
    let refer = |page: &str, marks: &[&str]| {
        let url = format!("https://harbourbook.example/{page}");
        let what = ["refer", &url, "--platform", platform, "--nature", "voluntary-referral"];
        let why = ["--ground", "offer-transport-sea", "--statute", "Immigration Act 1971", "--reasons", "Offers"];
        server.run(nca, &[&what[..], &why, marks].concat())
    };
    for (page, marks) in [
        ("amber", &["--tlp", "amber", "--source-grade", "untested", "--assessment", "not-known"][..]),
        ("red", &["--tlp", "red"]),
        ("conditional", &["--tlp", "green", "--conditions", "Not before May"]),
    ] {
        let output = refer(page, marks);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    let secret = refer("secret", &["--classification", "secret"]);
    assert!(text(&secret.stderr).starts_with("error: MARKING_REFUSED:"), "{}", text(&secret.stderr));

    // The same marks, from a file.
    let columns = "platform,kind,url,nature,ground,statute,reasons,reasons_language,tlp,classification,source_grade,assessment,conditions";
    let row = |page: &str, marks: &str| {
        format!(
            "harbourbook,page,https://harbourbook.example/{page},voluntary-referral,OFFER_TRANSPORT_SEA,Immigration Act 1971,Offers,en,{marks}\n"
        )
    };
    let rows = [
        row("clear", "clear,official,reliable,known-directly,"),
        row("imported-red", "RED,,,,"),
        row("mauve", "mauve,,,,"),
        row("top-secret", ",top-secret,,,"),
    ];
    let path = folder.path().join("pages.csv");
    std::fs::write(&path, format!("{columns}\n{}", rows.concat())).unwrap();
    let imported = server.run(nca, &["import", path.to_str().unwrap()]);
    assert!(text(&imported.stdout).contains("4 rows: 2 imported, 0 already there, 2 refused"), "{imported:?}");
    let rejects = std::fs::read_to_string(folder.path().join("pages.rejects.csv")).unwrap();
    assert!(rejects.contains("none of CLEAR, GREEN, AMBER, AMBER_STRICT, RED\",tlp\n"), "{rejects}");
    assert!(rejects.contains("MARKING_REFUSED"), "{rejects}");

    let watch = ["watch", "referrals", "--parent", nca, "--from", "snapshot", "--count", "2"];
    let reads = || server.run(bka, &[&watch[..], &["--purpose", "investigation"]].concat());
    assert!(text(&reads().stderr).starts_with("error: PERMISSION_DENIED:"), "{}", text(&reads().stderr));
    let propose = ["agreement", "propose", "--title", "Channel", "--with", bka, "--for", "investigation,prosecution"];
    let terms = ["--share", "target,grade,figures", "--tlp-ceiling", "amber", "--until", "2096-12-31T23:00:00Z"];
    let end = ["--extendable-until", "2099-01-01", "--after-end", "freeze", "--review", "2090-01-31"];
    let proposed = server.done(nca, &[&propose[..], &terms, &end].concat());
    let name = proposed.split_whitespace().nth(1).unwrap().to_owned();
    assert!(
        proposed.starts_with("proposed: agreements/") && proposed.contains(" is PROPOSED, until 2096-12-31T23:00:00Z")
    );
    let act = |agency: &str, arguments: &[&str]| server.done(agency, &[&["agreement"], arguments].concat());
    assert!(act(bka, &["accept", &name]).contains(" is ACTIVE, until "));
    let listed = act(bka, &["list"]);
    assert!(listed.lines().any(|line| line.contains(&name) && line.contains("ACTIVE") && line.ends_with("Channel")));

    // What is above the ceiling or has conditions does not come; what is not shared of the others neither.
    let seen = text(&reads().stdout);
    for (part, there) in [
        ("harbourbook.example/amber", true),
        ("harbourbook.example/clear", true),
        ("SOURCE_GRADE_UNTESTED", true),
        ("example/red", false),
        ("imported-red", false),
        ("conditional", false),
        ("Offers", false),
        ("Immigration Act", false),
    ] {
        assert_eq!(seen.contains(part), there, "{part}: {seen}");
    }
    let unsaid = server.run(bka, &watch);
    assert!(text(&unsaid.stderr).starts_with("error: PURPOSE_REQUIRED:"), "{}", text(&unsaid.stderr));
    let wrong = server.run(bka, &[&watch[..], &["--purpose", "curiosity"]].concat());
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
    // Figures hold no content: no marking limits them.
    let report = ["report", "--cohort", "2020-01..2090-12", "--agency", nca, "--format", "csv"];
    let theirs = server.done(bka, &[&report[..], &["--purpose", "investigation"]].concat());
    assert_eq!(theirs, server.done(nca, &report));
    assert!(theirs.lines().last().is_some_and(|total| total.contains(",5,0,0,5,0,")), "{theirs}");
    let unsaid = server.run(bka, &report);
    assert!(text(&unsaid.stderr).starts_with("error: PURPOSE_REQUIRED:"), "{}", text(&unsaid.stderr));
    // An agency that names no purpose asks for its own.
    let cases = server.done(nca, &["inbox"]);
    assert!(cases.contains("example/red") && cases.contains("example/amber"), "{cases}");
    let stream = server.done(nca, &["watch", "cases", "--agency", nca, "--count", "5"]);
    assert!(stream.contains("example/red"), "{stream}");
    let own = server.done(nca, &["watch", "referrals", "--parent", nca, "--from", "snapshot", "--count", "5"]);
    assert!(own.contains("HANDLING_CODE_SHARING_WITH_CONDITIONS") && own.contains("Not before May"), "{own}");
    let platform_sees = server.done(platform, &["watch", "referrals", "--from", "snapshot", "--count", "5"]);
    assert!(platform_sees.contains("TLP_RED") && !platform_sees.contains("SOURCE_GRADE"), "{platform_sees}");
    assert!(!platform_sees.contains("Not before May"), "{platform_sees}");

    // Facts of the parties move it, and with it what the partner sees.
    assert!(act(nca, &["suspend", &name, "--reason", "Under review"]).contains(" is SUSPENDED"));
    assert!(text(&reads().stderr).starts_with("error: AGREEMENT_LAPSED:"), "{}", text(&reads().stderr));
    assert!(act(nca, &["resume", &name]).contains(" is ACTIVE"));
    assert_eq!(reads().status.code(), Some(0));
    let id = name.strip_prefix("agreements/").unwrap();
    for agency in [nca, bka] {
        act(agency, &["extend", id, "--until", "2098-01-01"]);
    }
    let shown = act(bka, &["show", id]);
    for line in ["state           EXTENDED", "ends            2098-01-01T00:00:00Z", "review          2090-01-31"] {
        assert!(shown.lines().any(|found| found == line), "{line}: {shown}");
    }
    assert!(shown.contains("by agencies/nca: Under review"), "{shown}");
    let etag = shown.lines().find_map(|line| line.strip_prefix("etag            ")).unwrap().to_owned();
    assert!(act(bka, &["notice", &name, "--reason", "It is over", "--etag", &etag]).contains(" is TERMINATED"));
    let stale = server.run(bka, &["agreement", "suspend", &name, "--reason", "x", "--etag", &etag]);
    assert_eq!(stale.status.code(), Some(1), "{}", text(&stale.stdout));
    assert!(text(&reads().stderr).starts_with("error: AGREEMENT_LAPSED:"), "{}", text(&reads().stderr));
    let stranger = server.run(platform, &["agreement", "show", &name]);
    assert!(text(&stranger.stderr).starts_with("error: PERMISSION_DENIED:"), "{}", text(&stranger.stderr));
}

#[test]
fn one_member_drafts_and_another_authorises() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (operator, nca) = ("operators/op", "agencies/nca");
    server.done(operator, &["organisation", "create", nca, "--name", "NCA"]);
    let platform =
        ["organisation", "create", "platforms/harbourbook", "--name", "Harbourbook", "--host", "harbourbook.example"];
    server.done(operator, &platform);
    let demanded =
        server.done(nca, &["draft", "demand", "--ground", "solicitation-of-service", "--check", "--member", "a.head"]);
    assert!(demanded.starts_with("set;"), "{demanded}");
    let policy = server.done(nca, &["draft", "policy", nca]);
    assert!(policy.contains("SOLICITATION_OF_SERVICE") && policy.contains("a protected-context check"), "{policy}");
    let what = [
        "https://harbourbook.example/groups/7",
        "--platform",
        "platforms/harbourbook",
        "--ground",
        "solicitation-of-service",
        "--nature",
        "voluntary-referral",
        "--legal-basis-code",
        "IA1971_S25",
        "--statute",
        "Immigration Act 1971",
        "--reasons",
        "Asks for a crossing",
        "--context",
        "others=does-not-apply",
        "--context",
        "journalism=uncertain:A newspaper embeds it",
    ];
    let refused = server.run(nca, &[&["refer"], &what[..]].concat());
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.starts_with("error: AUTHORISATION_REQUIRED:") && refused.contains("draft authorise"), "{refused}");
    let create = |member: &str, id: &str| {
        let said =
            server.done(nca, &[&["draft", "create"], &what[..], &["--member", member, "--request-id", id]].concat());
        let mut words = said.split_whitespace().map(str::to_owned);
        (words.nth(1).unwrap(), words.nth(1).unwrap().trim_end_matches(')').to_owned())
    };
    let (name, etag) = create("j.doe", "7d9f2c1e-5b0a-4c3d-9e8f-0a1b2c3d4e01");
    let shown = server.done(nca, &["draft", "show", &name]);
    for part in ["DRAFT, etag ", "written by j.doe", "groups/7 to platforms/harbourbook", "A newspaper embeds it"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let listed = server.done(nca, &["draft", "list", "--waiting"]);
    assert!(listed.contains(&name) && listed.contains("j.doe"), "{listed}");
    let authorise = |member: &str| server.run(nca, &["draft", "authorise", &name, "--etag", &etag, "--member", member]);
    let own = String::from_utf8(authorise("j.doe").stderr).unwrap();
    assert!(own.starts_with("error: DECIDER_NOT_IMPARTIAL:"), "{own}");
    let sent = String::from_utf8(authorise("a.head").stdout).unwrap();
    assert!(sent.starts_with(&format!("authorised, and referred: {}", name.replace("drafts", "referrals"))), "{sent}");
    let shown = server.done(nca, &["draft", "show", &name]);
    assert!(shown.contains("AUTHORISED") && shown.contains("authorised by a.head"), "{shown}");
    // Signed, and given up.
    let key = folder.path().join("nca.jwk");
    let key = key.to_str().unwrap();
    assert!(portreeve().args(["sign", "init", key, "--kid", "nca-1"]).status().unwrap().success());
    server.done(nca, &["sign", "register", key]);
    let (other, first) = create("j.doe", "7d9f2c1e-5b0a-4c3d-9e8f-0a1b2c3d4e02");
    // Of another place: what was referred before would be given up when it is authorised.
    let elsewhere = [&["https://harbourbook.example/groups/8"], &what[1..]].concat();
    let update =
        [&["draft", "update", &other], &elsewhere[..], &["--native-id", "8", "--member", "m.roe", "--etag", &first]]
            .concat();
    let written = server.done(nca, &update);
    let second = written.split_whitespace().nth(3).unwrap().trim_end_matches(')');
    let signed = ["draft", "authorise", &other, "--etag", second, "--sign-key", key, "--member", "a.head", "--json"];
    assert!(server.done(nca, &signed).contains("\"jws\""));
    let (third, _) = create("j.doe", "7d9f2c1e-5b0a-4c3d-9e8f-0a1b2c3d4e03");
    assert!(server.done(nca, &["draft", "discard", &third]).starts_with("discarded, and erased: "));
    assert!(server.done(nca, &["draft", "list", "--json"]).contains("DRAFT_STATE_DISCARDED"));
    let provisions = server.done(nca, &["draft", "provisions"]);
    assert!(provisions.contains("BSAIA2025_S17") && provisions.contains("JOURNALISM, ACADEMIC"), "{provisions}");
    let stranger = server.run("platforms/harbourbook", &["draft", "show", &name]);
    assert!(String::from_utf8(stranger.stderr).unwrap().starts_with("error: PERMISSION_DENIED:"));
}
