"""Headless Chromium through its own protocol: JSON messages on a pipe, nothing but the standard library."""
import base64
import fcntl
import json
import os
import queue
import subprocess
import threading
import time

KEYS = {
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "Space": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
    "Escape": {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27},
}


class Failed(Exception):
    pass


class Chromium:
    """One page of one browser. Console errors and exceptions of the page gather in `errors`."""

    def __init__(self, program, profile):
        to_browser, our_out = os.pipe()
        our_in, from_browser = os.pipe()
        # The browser reads on 3 and writes on 4, whatever these are here.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (to_browser, from_browser, our_in, our_out)]
        for fd in (to_browser, our_out, our_in, from_browser):
            os.close(fd)
        their_in, their_out, self._in, self._out = high

        def connect():
            os.dup2(their_in, 3)
            os.dup2(their_out, 4)

        arguments = [program, "--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + profile, "--no-first-run",
                     "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions",
                     "--disable-component-update", "--hide-scrollbars", "--lang=en-GB", "--force-device-scale-factor=1"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # it refuses to run as root otherwise
        self._log = open(os.path.join(profile, "chromium.log"), "wb")
        self._process = subprocess.Popen(arguments, preexec_fn=connect, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
                                         stdout=self._log, stderr=self._log)
        os.close(their_in)
        os.close(their_out)
        self.errors = []
        self._replies = queue.Queue()
        self._next = 0
        self._session = None
        threading.Thread(target=self._read, daemon=True).start()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM", "Accessibility"):
            self.send(domain + ".enable")

    def close(self):
        try:
            self.send("Browser.close")
            self._process.wait(10)
        except (Failed, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _read(self):
        rest = b""
        while True:
            data = os.read(self._in, 1 << 20)
            if not data:
                self._replies.put({"error": {"message": "the browser has ended"}, "id": None})
                return
            *messages, rest = (rest + data).split(b"\0")
            for message in messages:
                message = json.loads(message)
                if "id" in message:
                    self._replies.put(message)
                else:
                    self._note(message["method"], message.get("params", {}))

    def _note(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append("exception: " + details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append("console: " + " ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.errors.append("%s: %s %s" % (entry["source"], entry["text"], entry.get("url", "")))

    def send(self, method, **params):
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        # Those two are asked of the browser, all others of the page.
        if self._session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            try:
                reply = self._replies.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise Failed(method + ": the browser does not answer") from None
            if reply["id"] not in (None, self._next):
                continue
            if "error" in reply:
                raise Failed(method + ": " + reply["error"]["message"])
            return reply["result"]

    def run(self, expression):
        """The value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Failed("%s: %s" % (expression, result["exceptionDetails"].get("exception", {}).get("description")))
        return result["result"].get("value")

    def wait(self, expression, seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            if self.run("Boolean(%s)" % expression):
                return
            if time.monotonic() > deadline:
                raise Failed("in %d s never: %s\nthe page: %s" % (seconds, expression, self.run("document.body.innerText")[:2000]))
            time.sleep(0.05)

    def go(self, url):
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href.startsWith(%s)" % json.dumps(url.split("#")[0]))

    def press(self, key):
        self.send("Input.dispatchKeyEvent", type="keyDown", **KEYS[key])
        self.send("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in KEYS[key].items() if k != "text"})

    def type(self, text):
        self.send("Input.insertText", text=text)

    def tab_to(self, name, most=60):
        """Presses Tab until what has the focus is called `name`, as somebody without a mouse does."""
        seen = []
        for _ in range(most):
            self.press("Tab")
            here = self.run("(e => e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText || '')(document.activeElement)").strip()
            if here == name:
                return
            seen.append(here[:40])
        raise Failed("Tab never reached %r but %r" % (name, seen))

    def click(self, selector, text=None):
        """The middle of the first element that fits, and whose text is `text`."""
        found = ("[...document.querySelectorAll(%s)].find(e => e.checkVisibility() && (%s === null || e.innerText.trim() === %s))"
                 % (json.dumps(selector), json.dumps(text), json.dumps(text)))
        self.wait("!!" + found)
        place = self.run("(e => { e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect();"
                         " return [r.x + r.width / 2, r.y + r.height / 2]; })(%s)" % found)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def choose_file(self, selector, path):
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[path], nodeId=node)

    def look(self, width, height, scheme):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path, width):
        height = min(4000, self.run("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(path, "wb") as out:
            out.write(base64.b64decode(data))

    def nameless(self):
        """Roles of what a screen reader stops at and has no name for."""
        wanted = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "spinbutton", "progressbar", "image",
                  "dialog", "region", "navigation", "log", "heading"}
        bad = []
        for node in self.send("Accessibility.getFullAXTree")["nodes"]:
            role = node.get("role", {}).get("value")
            if node.get("ignored") or role not in wanted or node.get("name", {}).get("value", "").strip():
                continue
            bad.append(role)
        return bad

    def faint(self):
        """Text with less contrast than WCAG's 4.5 to 1; what is disabled may have less."""
        return self.run("""(() => {
          const numbers = text => /^rgba?\\(/.test(text) ? text.match(/[0-9.]+/g).map(Number) : null;
          const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                                         return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
          const found = [];
          for (const element of document.querySelectorAll('body *')) {
            const text = [...element.childNodes].filter(n => n.nodeType === 3 && n.data.trim()).map(n => n.data.trim()).join(' ');
            if (!text || element.disabled || !element.checkVisibility({opacityProperty: true}) || element instanceof SVGElement) continue;
            let ground = null;
            for (let at = element; at && !ground; at = at.parentElement) {
              const one = numbers(getComputedStyle(at).backgroundColor);
              if (!one) break;  // a mixture: told apart by eye
              if (one.length === 3 || one[3] === 1) ground = one;
            }
            const ink = numbers(getComputedStyle(element).color);
            if (!ground || !ink) continue;
            const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
            const ratio = (a + 0.05) / (b + 0.05);
            if (ratio < 4.5) found.push(text.slice(0, 40) + ' ' + ratio.toFixed(2));
          }
          return found;
        })()""")
