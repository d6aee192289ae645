// Looks at the page with a browser. Arguments: the server's URL, the portreeve binary, the browser, and where pictures go.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [server, binary, executablePath, pictures] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const AS = "oversightBodies/home-affairs";
const COMMITTEE = `${server}/report?from=2020-01-01&until=2020-05-31&as-of=2020-09-03&as=${AS}`;
const CLOCKS = `${server}/report/clocks?as=agencies/nca`;
const LIVE = `${server}/report?from=2020-01-01&as=${AS}`;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
let failed = 0;

// A page of its own, which must load nothing from elsewhere and about which the browser must not complain.
async function visit({ server: own = server, ...options }, look) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    // A page that says 401 is one, and the browser says so.
    if (message.type() === "error" && !message.text().includes("the server responded with a status of 4")) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${own}/`)) complaints.push(`it asked ${request.url()}`);
  });
  await look(page);
  await context.close();
  assert.deepEqual(complaints, []);
}

async function test(name, options, look) {
  try {
    await visit(options, look);
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack ?? error}`);
  }
}

function portreeve(...args) {
  return execFileSync(binary, args, { encoding: "utf8", env: { PORTREEVE_SERVER: server } });
}

const figure = (page, name) => page.locator(`[data-figure="${name}"]`).first().innerText();
const number = (text) => Number(text.replaceAll(",", ""));

// What the API reports for the same question.
function reported() {
  const args = ["report", "--cohort", "2020-01-01..2020-05-31", "--as-of", "2020-09-03", "--as", AS];
  return JSON.parse(portreeve(...args, "--by", "platform,disposition,clause,cohort-month", "--format", "json"));
}

async function same(page) {
  const report = reported();
  const { counts, decisionTimes } = report.total;
  for (const [name, count] of Object.entries({
    referred: counts.referred, closed: counts.closed, "not-in-breach": counts.notInBreach, undecided: counts.undecided, other: counts.other,
  })) {
    assert.equal(number(await figure(page, name)), Number(count), name);
  }
  assert.equal(await figure(page, "digest"), report.digest);
  assert.equal(await figure(page, "naive-median"), `${decisionTimes.decidedOnlyMedianDays} days`);
  assert.equal(await figure(page, "censored-median"), `${decisionTimes.censoredMedianDays} days`);
  // Every table of parts adds up to what was referred.
  const sums = await page.locator("table.figures").evaluateAll((tables) => tables.map((table) => {
    const count = (cell) => Number(cell.textContent.replaceAll(",", ""));
    const column = [...table.querySelectorAll("thead th")].findIndex((th) => ["Referred", "Referrals"].includes(th.textContent));
    if (column < 0) return null;
    const rows = [...table.querySelectorAll("tbody tr")].map((row) => count(row.children[column]));
    return [table.caption.textContent, rows.reduce((sum, one) => sum + one, 0), count(table.tFoot.rows[0].cells[column])];
  }).filter(Boolean));
  assert.ok(sums.length >= 5, JSON.stringify(sums));
  for (const [caption, sum, total] of sums) assert.deepEqual([sum, total], [Number(counts.referred), Number(counts.referred)], caption);
}

await test("figures are the API's", {}, async (page) => {
  await page.goto(COMMITTEE);
  await same(page);
});

await test("figures are there without scripts", { javaScriptEnabled: false }, async (page) => {
  await page.goto(COMMITTEE);
  assert.equal(number(await page.locator('[data-figure="referred"]').innerText()), 1218);
  assert.equal(await page.locator("svg.chart").count(), 3);
});

// A platform promises an answer within two weeks, and acknowledges what the agency refers.
portreeve("clock", "promise", "voluntary-referral=14d", "--as", "platforms/chirrup");
const REFERRED = ["--platform", "platforms/chirrup", "--ground", "offer-transport-sea", "--nature", "voluntary-referral",
  "--statute", "Immigration Act 1971", "--section", "s. 25", "--reasons", "Offers crossings", "--as", "agencies/nca"];
portreeve("refer", "https://chirrup.example/pages/clock", ...REFERRED);
portreeve("inbox", "--status", "submitted", "--acknowledge", "--as", "platforms/chirrup");
let CASE;
await test("clocks lead to time lines", {}, async (page) => {
  await page.goto(CLOCKS);
  assert.match(await page.locator("tbody tr").first().innerText(), /Response\s+Running\s+\d{4}-\d\d-\d\d \d\d:\d\d\s+13 d 23 h/);
  await page.locator("tbody a").first().click();
  await page.waitForURL(/report\/case/);
  CASE = page.url();
  const line = await page.locator("ol.line").innerText();
  assert.ok(line.includes("Referred by agencies/nca to platforms/chirrup") && line.includes("Receipt acknowledged"), line);
});

// All that can be complained of by machine; with everything open, so that nothing hides.
async function accessible(page, what) {
  await page.locator("details").evaluateAll((all) => all.forEach((one) => { one.open = true; }));
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  const told = violations.map((one) => `${one.id}: ${one.help} (${one.nodes.map((node) => node.target.join(" ")).slice(0, 3).join("; ")})`);
  assert.deepEqual(told, [], what);
}

for (const colorScheme of ["light", "dark"]) {
  await test(`nothing keeps anybody out, ${colorScheme}`, { colorScheme }, async (page) => {
    for (const address of [COMMITTEE, LIVE, `${server}/report`, `${COMMITTEE}&ground=fun&from=soon`, CLOCKS, CASE]) {
      await page.goto(address);
      await accessible(page, address);
    }
  });
}

await test("it fits a narrow screen", { viewport: { width: 320, height: 640 } }, async (page) => {
  for (const address of [COMMITTEE, `${server}/report`, CLOCKS, CASE]) {
    await page.goto(address);
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= room, `${address}: ${wide} of ${room}`);
    await accessible(page, address);
  }
});

await test("the keyboard reaches and works everything", {}, async (page) => {
  await page.goto(COMMITTEE);
  const all = await page.evaluate(() => {
    const can = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']")];
    const seen = can.filter((element) => element.checkVisibility());
    seen.forEach((element, place) => { element.dataset.place = place; });
    return seen.length;
  });
  const reached = new Set();
  for (let presses = 0; presses < all * 4 && reached.size < all; presses += 1) {
    await page.keyboard.press("Tab");
    const [place, outlined] = await page.evaluate(() => {
      const element = document.activeElement;
      return [element.dataset.place, getComputedStyle(element).outlineStyle !== "none"];
    });
    if (place !== undefined) {
      assert.ok(outlined, `the focus is not seen at ${place}`);
      reached.add(place);
    }
  }
  assert.equal(reached.size, all);
  await page.locator("#months-summary").focus();
  await page.keyboard.press("Enter");
  assert.ok(await page.locator("#months-table table").isVisible());
  await page.locator("#field-platform").focus();
  await page.keyboard.type("harbourbook");
  await page.keyboard.press("Enter");
  await page.waitForURL(/platform=harbourbook/);
  assert.ok(number(await figure(page, "referred")) < 1218);
  assert.ok(page.url().includes("as=oversightBodies%2Fhome-affairs"), "who looks goes with the question");
  await page.goto(`${server}/report`);
  await page.locator("#field-as").focus();
  await page.keyboard.type(AS);
  await page.keyboard.press("Enter");
  await page.waitForURL(/as=oversightBodies/);
  assert.ok(await page.locator("#figures").isVisible());
});

await test("a change appears without a reload", {}, async (page) => {
  await page.goto(LIVE);
  const before = number(await figure(page, "referred"));
  await page.locator("#live[data-state=live]").waitFor();
  await page.locator("#flow-summary").click();
  await page.locator("#flow-summary").focus();
  await page.evaluate(() => { globalThis.stayed = true; });
  portreeve("refer", "https://chirrup.example/pages/live", ...REFERRED);
  await page.locator('[data-figure="referred"]', { hasText: (before + 1).toLocaleString("en-GB") }).waitFor();
  assert.match(await page.locator("#live").innerText(), /^Live: the figures changed at \d\d:\d\d:\d\d UTC\.$/);
  assert.equal(await page.locator("#live").getAttribute("role"), "status");
  assert.ok(await page.evaluate(() => globalThis.stayed), "it was loaded again");
  assert.ok(await page.locator("#flow-table table").isVisible(), "what was open stays open");
  assert.equal(await page.evaluate(() => document.activeElement.id), "flow-summary", "the focus stays");
});

// A server that takes tokens, and a token for it.
async function secured(look) {
  const folder = mkdtempSync(join(tmpdir(), "portreeve-page-"));
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(join(folder, "jwks.json"), JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "one" }] }));
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = [{ alg: "EdDSA", kid: "one" }, {
    iss: "https://login.example", aud: "portreeve", exp: 4000000000, organisation: "oversightBodies/committee", member: "c.lerk", roles: ["analyst"],
  }].map(part).join(".");
  const token = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString("base64url")}`;
  const child = spawn(binary, ["serve", "--database", "sqlite:data", "--listen", "127.0.0.1:0"], {
    cwd: folder,
    env: { PORTREEVE_TOKEN_JWKS: "jwks.json", PORTREEVE_TOKEN_ISSUER: "https://login.example", PORTREEVE_TOKEN_AUDIENCE: "portreeve" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  try {
    const url = await new Promise((resolve, reject) => {
      let said = "";
      child.once("exit", () => reject(new Error(`it does not start: ${said}`)));
      child.stdout.on("data", (data) => {
        said += data;
        const found = /a browser: (\S+)/.exec(said);
        if (found) resolve(found[1]);
      });
    });
    await look(url, token);
  } finally {
    child.kill();
    await ended;
    rmSync(folder, { recursive: true });
  }
}

await secured((url, token) => test("a browser signs in with a token, and out", { server: new URL(url).origin }, async (page) => {
  await page.goto(url);
  await accessible(page, url);
  await page.locator("#field-token").fill(token);
  await page.keyboard.press("Enter");
  await page.locator("#figures").waitFor();
  await page.locator("#live[data-state=live]").waitFor();
  assert.equal(await page.evaluate(() => document.cookie), "", "a script sees the token");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("#field-token").waitFor();
  await page.goto(url);
  assert.equal(await page.locator("h1").innerText(), "Who is looking?");
}));

for (const [name, options] of [
  ["desktop", {}],
  ["dark", { colorScheme: "dark" }],
  ["narrow", { viewport: { width: 390, height: 844 } }],
]) {
  await test(`a picture: ${name}`, options, async (page) => {
    await page.goto(COMMITTEE);
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  });
}
await test("pictures of what is said instead of figures", {}, async (page) => {
  await page.goto(`${server}/report`);
  await page.screenshot({ path: join(pictures, "nobody.png"), fullPage: true });
  await page.goto(`${COMMITTEE}&ground=fun&from=soon`);
  await page.screenshot({ path: join(pictures, "refused.png"), fullPage: true });
});
await test("pictures of clocks and of a time line", {}, async (page) => {
  await page.goto(CLOCKS);
  await page.screenshot({ path: join(pictures, "clocks.png"), fullPage: true });
  await page.goto(CASE);
  await page.screenshot({ path: join(pictures, "case.png"), fullPage: true });
});
await test("what is printed", {}, async (page) => {
  await page.goto(COMMITTEE);
  await page.pdf({ path: join(pictures, "page.pdf"), format: "A4", printBackground: false });
});

await browser.close();
console.log(failed === 0 ? `page: all passed; pictures in ${pictures}` : `page: ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
