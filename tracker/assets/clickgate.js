// Clickgate's tag: clickgate(type, {program, params, visitor}). MIT OR Apache-2.0
(function () {
  var me = document.currentScript, base = new URL("__BEACON__", me.src), nav = navigator
  var pending = {}, waits = [1000, 4000, 16000]

  function newId() {
    if (self.crypto && crypto.randomUUID) return crypto.randomUUID()
    return Date.now() + "-" + Math.random() + "-" + Math.random()
  }

  function beacon(json) {
    // Text is a simple request: no preflight that would come too late.
    try { return nav.sendBeacon(base, new Blob([json], {type: "text/plain"})) } catch (e) { return false }
  }

  function pixel(json, done, failed) {
    var image = new Image()
    image.onload = done
    image.onerror = failed
    image.src = base + "?d=" + encodeURIComponent(json)
  }

  // Each try has the same id, so a repetition is stored once.
  function attempt(id, tries) {
    var json = pending[id]
    function done() { delete pending[id] }
    function again() {
      if (pending[id] && tries < waits.length) setTimeout(attempt, waits[tries], id, tries + 1)
      else done()
    }
    function viaPixel() { pixel(json, done, again) }
    if (!json) return
    if (!tries && beacon(json)) return done()
    if (!self.fetch) return viaPixel()
    fetch(base, {method: "POST", body: json, keepalive: true, credentials: "omit"}).then(function (answer) {
      if (answer.status < 500 && answer.status != 408) done()
      else again()
    }, viaPixel)
  }

  self.clickgate = function (type, what) {
    var id = newId(), entry = {program: what.program, type: type, id: id, time_ms: Date.now(), params: what.params}
    if (!nav.globalPrivacyControl) entry.visitor = what.visitor
    pending[id] = JSON.stringify(entry)
    attempt(id, 0)
    return id
  }

  addEventListener("pagehide", function () {
    for (var id in pending) if (beacon(pending[id])) delete pending[id]
  })

  if (me.dataset.program) clickgate("impression", {program: me.dataset.program})
})()
