"""The dashboard in a real browser against a real service: what somebody does with it from the token to the report.

dashboard_browser.py --quench PROGRAM --chromium PROGRAM --fixtures DIR --scratch DIR --screenshots DIR
Exit code 0 when everything was as it should be; otherwise 1, and what was not on stderr.
"""
import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from chromium import Chromium, Failed

MARKUP = '<img src=x onerror="window.hacked = true"><b>wrong</b> & "quoted"'
LONG_NAME = "second-with-a-name-that-is-longer-than-what-a-narrow-window-has-room-for"
WIDTHS = {400: 860, 1280: 900}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Service:
    def __init__(self, quench, scratch, fixtures):
        self._quench = quench
        self._store = os.path.join(scratch, "store")
        self._config = os.path.join(scratch, "serve.json")
        self._log = os.path.join(scratch, "serve.log")
        port = free_port()
        self.url = "http://127.0.0.1:%d" % port
        with open(self._config, "w") as out:
            json.dump({"store": self._store, "slots": 2, "listen": "127.0.0.1:%d" % port, "allowedPaths": [fixtures]}, out)
        self._process = None

    def start(self):
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen([self._quench, "serve", "--config", self._config], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            try:
                return urllib.request.urlopen(self.url + "/readyz", timeout=5).close()
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise Failed("the service does not start: " + open(self._log).read()) from None
                time.sleep(0.05)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)

    def token(self, user, scopes):
        made = subprocess.run([self._quench, "token", "create", "--user", user, "--scope", scopes, "--store", self._store],
                              check=True, capture_output=True, text=True)
        return made.stdout.splitlines()[0]


def job_file(scratch, name, fixtures, **changes):
    job = {"name": name, "model": os.path.join(fixtures, "tiny_coder"), "ranks": 2, "threads": 1, "baseline": True,
           "quantize": [{"method": "int8"}, {"method": "gptq", "bits": 4, "groupSize": 64},
                        {"method": "gptq", "bits": 2, "groupSize": 64, "symmetric": False}],
           "calibration": {"files": [os.path.join(fixtures, "calibration_python.txt")], "sequences": 8, "length": 64, "seed": 3},
           "evaluate": [{"benchmark": "humaneval", "tasks": 8, "samples": 1, "temperature": 0, "maxTokens": 160}]}
    job.update(changes)
    path = os.path.join(scratch, name + ".json")
    with open(path, "w") as out:
        json.dump({key: value for key, value in job.items() if value is not None}, out)
    return path


def expect(truth, what):
    if not truth:
        raise Failed(what)


class Visit:
    """A browser on the page, and what is asked of every page of it."""

    def __init__(self, browser, service, screenshots):
        self.browser, self.service, self.screenshots = browser, service, screenshots

    def at(self, fragment, heading):
        self.browser.run("location.hash = %s" % json.dumps(fragment))
        self.browser.wait("document.querySelector('h1')?.innerText.includes(%s)" % json.dumps(heading))

    def settled(self):
        self.browser.wait("![...document.querySelectorAll('.empty')].some(e => e.innerText.startsWith('Asking'))")

    # Both widths, light and dark: nothing is wider than the window or hard to read, everything has a name, and a
    # picture is kept.
    def inspect(self, name):
        self.settled()
        self.browser.wait("!document.getElementById('notices').firstChild")
        for width, height in WIDTHS.items():
            for scheme in ("light", "dark"):
                self.browser.look(width, height, scheme)
                self.browser.wait("[...document.querySelectorAll('.plot svg')].every(e => (e.viewBox.baseVal.width < 400) === (innerWidth <= 640))")
                self.browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
                wide = self.browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                self.browser.screenshot(os.path.join(self.screenshots, "%s-%d-%s.png" % (name, width, scheme)), width)
                expect(not self.browser.faint(), "%s, %s: hard to read: %s" % (name, scheme, self.browser.faint()))
                expect(wide <= 0, "%s is %d pixels too wide at %d" % (name, wide, width))
            expect(not self.browser.nameless(), "%s at %d has elements without a name: %s" % (name, width, self.browser.nameless()))
        self.no_errors(name)

    def no_errors(self, where):
        expect(not self.browser.errors, "%s: the console has\n%s" % (where, "\n".join(self.browser.errors)))


def check_headers(service):
    policy = urllib.request.urlopen(service.url + "/").headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'none'",
                 "require-trusted-types-for 'script'"):
        expect(part in policy, "the policy lacks " + part)
    expect("unsafe" not in policy, "the policy allows what is inline")


def sign_in(visit, token):
    browser = visit.browser
    browser.look(1280, 900, "light")
    browser.go(visit.service.url + "/")
    browser.wait("document.getElementById('dialog').open")
    visit.no_errors("before there is a token")
    visit.browser.screenshot(os.path.join(visit.screenshots, "token-1280-light.png"), 1280)
    # Typed with a mistake first: said, and asked again.
    browser.type("quench_0123456789ab_00")
    browser.press("Enter")
    browser.wait("document.querySelector('#dialog .problem:not([hidden])')")
    expect(any("401" in error for error in browser.errors), "a wrong token was not refused")
    browser.errors.clear()
    browser.run("document.querySelector('#dialog input').select()")
    browser.type(token)
    browser.press("Enter")
    browser.wait("document.querySelector('.connection').innerText === 'live'")
    expect(browser.run("localStorage.length === 0 && document.cookie === ''"), "the token is kept beyond the tab")
    expect(browser.run("!document.documentElement.outerHTML.includes(%s)" % json.dumps(token)), "the token is in the page")
    expect(browser.run("(() => { try { document.body.innerHTML = '<b>x</b>'; return false; } catch { return true; } })()"),
           "markup may be made from text")
    browser.errors.clear()  # of that attempt


# The modules in which a mistake would show only sometimes.
def check_modules(visit):
    parsed = visit.browser.run("""import('/lib/stream.js').then(({EventParser}) => {
      const text = 'retry: 2000\\n\\n: nothing\\n\\nid: 7\\nevent: job\\ndata: {"a":\\ndata: "\u00e9"}\\n\\nevent: lost\\ndata: {}\\n\\n';
      const whole = new EventParser().push(text);
      for (let cut = 0; cut <= text.length; ++cut) {
        const parser = new EventParser();
        const parts = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
        if (JSON.stringify(parts) !== JSON.stringify(whole)) return 'cut at ' + cut;
      }
      return JSON.stringify(whole.map(one => [one.type, one.data, one.id ?? null, one.retry ?? null]));
    })""")
    expect(parsed == '[["message","",null,2000],["job","{\\"a\\":\\n\\"\u00e9\\"}","7",null],["lost","{}",null,null]]',
           "events are read wrongly: " + parsed)
    best = visit.browser.run("""import('/lib/pareto.js').then(({front}) => front([
      {name: 'large', bytes: 9, score: 0.5}, {name: 'small', bytes: 1, score: 0.1}, {name: 'beaten', bytes: 5, score: 0.1},
      {name: 'middle', bytes: 5, score: 0.4}, {name: 'equal', bytes: 9, score: 0.4}]).map(one => one.name).join())""")
    expect(best == "small,middle,large", "the front is " + best)


# The job file is chosen, and everything else done with the keyboard.
def submit_by_keyboard(visit, path):
    browser = visit.browser
    browser.tab_to("Submit")
    browser.press("Enter")
    browser.wait("document.querySelector('#job-file')")
    browser.choose_file("#job-file", path)
    browser.wait("document.querySelector('#job-text').value.length > 0")
    browser.tab_to("Submit", most=12)  # the button: the focus began at the top of the page's content
    browser.press("Enter")
    browser.wait("/^#.jobs.[0-9]+$/.test(location.hash)")
    return int(browser.run("location.hash.split('/').pop()"))


def submit_text(visit, path):
    visit.at("#/submit", "Submit a job")
    visit.browser.run("document.querySelector('#job-text').focus()")
    visit.browser.type(open(path).read())
    visit.browser.click("main button.primary", "Submit")
    visit.browser.wait("/^#.jobs.[0-9]+$/.test(location.hash)")
    return int(visit.browser.run("location.hash.split('/').pop()"))


STATE = "document.querySelector('.page-head .badge')?.innerText"


def watch_until_done(visit, number):
    browser = visit.browser
    # Nothing is loaded anew from here on: what comes, comes by events.
    browser.run("window.sameDocument = true")
    browser.run("new MutationObserver(() => window.sawTimeLeft ||= / left$/m.test(document.querySelector('.progress-words')?.innerText))"
                ".observe(document.querySelector('main'), {subtree: true, childList: true, characterData: true})")
    browser.wait("document.querySelector('.strip .done') || %s === 'failed'" % STATE, 120)
    browser.wait("document.querySelector('.series circle') || %s === 'failed'" % STATE, 120)
    browser.wait("['done', 'failed'].includes(%s)" % STATE, 300)
    expect(browser.run(STATE) == "done", "the job failed: " + browser.run("document.body.innerText"))
    expect(browser.run("window.sameDocument"), "the page was loaded again")
    expect(browser.run("window.sawTimeLeft"), "it was never told how long the job still takes")
    detail = browser.run("fetch('/v1/jobs/%d', {headers: {Authorization: 'Bearer ' + sessionStorage.getItem('quench.token')}}).then(r => r.json())" % number)
    expect(len(detail["artifacts"]) == 4, "not the artifacts that were ordered")
    losses = sum(len(block["losses"]) for artifact in detail["artifacts"] for block in artifact["blocks"])
    browser.wait("document.querySelectorAll('.losses td').length === %d" % losses)
    browser.wait("document.querySelector('.log').textContent.includes('published')")
    browser.wait("(log => log.scrollTop + log.clientHeight >= log.scrollHeight - 2)(document.querySelector('.log'))")
    expect(browser.run("document.querySelectorAll('.card').length") == 4, "not a card for each artifact")
    browser.click("summary")
    browser.wait("document.querySelector('details[open] .losses')")
    visit.inspect("job-done")
    browser.wait("(log => log.scrollTop + log.clientHeight >= log.scrollHeight - 2)(document.querySelector('.log'))")
    expect(browser.run("document.querySelector('details').open"), "what was opened did not stay open")


def look_at_report(visit, number, scratch):
    browser = visit.browser
    browser.look(1280, 900, "light")
    browser.click("a.button", "Open the report")
    browser.wait("document.querySelector('h1').innerText === 'Report of first'")
    visit.settled()
    for part in ("int8", "humaneval", "8 of 8", "Comparisons"):
        browser.wait("document.querySelector('main').innerText.includes(%s)" % json.dumps(part))
    expect(browser.run("document.querySelectorAll('.point').length") == 4, "the plot has not a point for each artifact")
    visit.inspect("report")
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=scratch)
    browser.click("button", "Save as a page")
    saved = os.path.join(scratch, "job-%d.html" % number)
    deadline = time.monotonic() + 20
    while not os.path.exists(saved):
        expect(time.monotonic() < deadline, "the report was not saved")
        time.sleep(0.05)
    expect("gptq-4bit-g64-sym" in open(saved).read(), "the saved report is another one")


def look_at_artifacts(visit):
    browser = visit.browser
    browser.look(1280, 900, "light")
    visit.at("#/artifacts", "Artifacts")
    browser.wait("document.querySelectorAll('tbody tr').length === 4")
    browser.wait("document.querySelectorAll('.point').length === 4")
    browser.click("button.sort", "Size")
    sizes = browser.run("[...document.querySelectorAll('td[data-title=Size]')].map(e => e.innerText)")
    browser.wait("document.querySelector('[aria-sort=ascending]')?.innerText.startsWith('Size')")
    for words, rows in (("humaneval", 4), ("bits:4", 1), ("method:gptq first", 2), ("nowhere", 0), ("", 4)):
        browser.run("(e => { e.value = %s; e.dispatchEvent(new Event('input')); })(document.querySelector('input[type=search]'))"
                    % json.dumps(words))
        browser.wait("document.querySelectorAll('tbody tr').length === %d" % rows)
    visit.inspect("artifacts")
    browser.look(1280, 900, "light")
    for name in ("first/int8", "first/gptq-4bit-g64-sym"):
        browser.click('input[data-ref="%s"]' % name)
    browser.click("button.primary", "Compare the two")
    browser.wait("document.querySelectorAll('section').length >= 4")
    visit.settled()
    text = browser.run("document.querySelector('main').innerText")
    for part in ("More than chance?", "method", "gptq", "humaneval"):
        expect(part in text, "the comparison lacks " + part)
    visit.inspect("compare")
    visit.at("#/artifacts/first%2Fint8", "first/int8")
    browser.wait("document.querySelectorAll('.lineage li').length >= 5")
    expect("unquantized" not in browser.run("document.querySelector('.lineage').innerText"), "another artifact's lineage")
    visit.inspect("artifact")
    expect(len(sizes) == 4, "not a size for each artifact")


def cancel_one(visit, scratch, fixtures):
    browser = visit.browser
    browser.look(1280, 900, "light")
    long_job = job_file(scratch, "long", fixtures, evaluate=None, calibration={
        "files": [os.path.join(fixtures, "calibration_python.txt")], "sequences": 2000, "length": 256, "seed": 5})  # minutes
    number = submit_text(visit, long_job)
    waiting = submit_text(visit, job_file(scratch, LONG_NAME, fixtures))
    browser.wait("document.querySelector('.reason')?.innerText.includes('2 ranks')")
    visit.at("#/jobs/%d" % number, "long")
    browser.wait("document.querySelectorAll('.strip .done').length > 0", 120)
    browser.wait("document.querySelectorAll('section tbody td[data-title=Host]').length === 2", 60)
    visit.inspect("job-live")
    visit.at("#/workers", "Workers")
    browser.wait("document.querySelectorAll('tbody tr').length === 2")
    visit.inspect("workers")
    visit.at("#/jobs", "Jobs")
    browser.wait("document.querySelector('main').innerText.includes('it asks for 2 ranks')")
    visit.inspect("jobs")

    # The service dies and comes back: the page goes on by itself.
    visit.service.kill()
    browser.wait("document.querySelector('.connection').innerText === 'reconnecting'")
    visit.service.start()
    browser.wait("document.querySelector('.connection').innerText === 'live'", 60)
    browser.errors = [error for error in browser.errors if not error.startswith("network: ")]

    browser.look(1280, 900, "light")
    browser.click('button[aria-label="Cancel job %d, long"]' % number)
    browser.wait("document.getElementById('dialog').open")
    browser.type(MARKUP)
    browser.screenshot(os.path.join(visit.screenshots, "cancel-1280-light.png"), 1280)
    browser.press("Enter")
    browser.wait("!document.getElementById('dialog').open")
    visit.at("#/jobs/%d" % number, "long")
    browser.wait(STATE + " === 'cancelled'", 60)
    expect(browser.run("document.querySelector('.reason').textContent") == MARKUP, "the reason is not shown as it was given")
    expect(browser.run("window.hacked === undefined && !document.querySelector('main img, main b')"), "text became markup")
    visit.no_errors("a reason with markup")
    # The one behind it begins; it is cancelled too, and tried again.
    visit.at("#/jobs/%d" % waiting, LONG_NAME)
    browser.wait(STATE + " === 'at work'", 60)
    browser.click('button[aria-label="Cancel job %d, %s"]' % (waiting, LONG_NAME))
    browser.wait("document.getElementById('dialog').open")
    browser.press("Escape")
    browser.wait("!document.getElementById('dialog').open")
    expect(browser.run(STATE) in ("at work", "done"), "Escape cancelled the job")
    visit.at("#/jobs/%d" % number, "long")
    browser.click("button", "Retry")
    browser.wait(STATE + " === 'waiting' || " + STATE + " === 'at work'")
    browser.click('button[aria-label="Cancel job %d, long"]' % number)
    browser.click("#dialog button", "Cancel the job")
    browser.wait(STATE + " === 'cancelled'", 60)


def refused(visit, reader):
    browser = visit.browser
    visit.at("#/submit", "Submit a job")
    browser.run("document.querySelector('#job-text').focus()")
    browser.type('{"name": "x", "modle": "y"}')
    browser.click("main button.primary", "Submit")
    browser.wait("document.querySelector('main .problem')?.innerText.includes('modle')")
    browser.errors.clear()  # the refusal itself
    visit.inspect("submit")
    browser.look(1280, 900, "light")
    browser.click("button", "Forget token")
    browser.wait("sessionStorage.length === 0")
    browser.click("button", "Token")
    browser.type(reader)
    browser.press("Enter")
    browser.wait("document.querySelector('.connection').innerText === 'live'")
    visit.at("#/submit", "Submit a job")
    browser.wait("document.querySelector('main button.primary').disabled")
    visit.at("#/artifacts/nobody%2Fhas-this", "nobody/has-this")
    browser.wait("document.querySelector('main .problem')?.innerText.includes('nobody/has-this')")
    browser.errors.clear()  # the refusal itself
    browser.click("button", "Try again")
    deadline = time.monotonic() + 20
    while not browser.errors:  # it is refused again
        expect(time.monotonic() < deadline, "it was not asked again")
        time.sleep(0.05)
    browser.errors.clear()
    visit.at("#/no-such-page", "Not here")
    visit.at("#/artifacts/%E0%A4%A", "Not here")
    visit.no_errors("at the end")


def main():
    parser = argparse.ArgumentParser()
    for name in ("quench", "chromium", "fixtures", "scratch", "screenshots"):
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    for folder in (options.scratch, options.screenshots):
        os.makedirs(folder, exist_ok=True)
    profile = os.path.join(options.scratch, "profile")
    os.makedirs(profile)
    service = Service(options.quench, options.scratch, options.fixtures)
    browser = None
    try:
        service.start()
        check_headers(service)
        token, reader = service.token("alice", "read,submit"), service.token("bob", "read")
        browser = Chromium(options.chromium, profile)
        visit = Visit(browser, service, options.screenshots)
        sign_in(visit, token)
        check_modules(visit)
        number = submit_by_keyboard(visit, job_file(options.scratch, "first", options.fixtures))
        watch_until_done(visit, number)
        look_at_report(visit, number, options.scratch)
        look_at_artifacts(visit)
        cancel_one(visit, options.scratch, options.fixtures)
        refused(visit, reader)
    except Failed as failure:
        print(failure, file=sys.stderr)
        if browser and browser.errors:
            print("the console:\n" + "\n".join(browser.errors), file=sys.stderr)
        if browser:
            try:
                browser.screenshot(os.path.join(options.screenshots, "failed.png"), 1280)
            except Failed:
                pass
        return 1
    finally:
        if browser:
            browser.close()
        service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
