// Clickgate's tag: clickgate(type, {program, params, visitor}). MIT OR Apache-2.0
(function () {
  var me = document.currentScript, own = me.dataset.program
  var base = new URL("__BEACON__", me.src), pending = {}, waits = [1000, 4000, 16000]

  // JSON writes half of a surrogate pair as an escape (raw in old browsers); it becomes U+FFFD.
  // What matches with two units is a whole pair or an escaped backslash, and stays.
  function wellFormed(json) {
    return json.replace(/\\(\\|ud...)|[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g, function (found) {
      return found.length == 2 ? found : "\ufffd"
    })
  }

  // Bodies that may outlive their page share 64 KiB, so a larger one must not ask for it.
  function fits(json) { return new Blob([json]).size <= 61440 }

  // Text is a simple request: no preflight that would come too late.
  function beacon(json) {
    try { return fits(json) && navigator.sendBeacon(base, json) } catch (blocked) {}
  }

  // Each try has the same id, so a repetition is stored once.
  function attempt(id, tries) {
    var json = pending[id]
    function done() { delete pending[id] }
    function again() {
      waits[tries] ? setTimeout(attempt, waits[tries], id, tries + 1) : done()
    }
    function viaPixel() {
      var image = new Image(), url = base + "?d=" + encodeURIComponent(json)
      // The tracker refuses request lines over 20 KiB.
      if (url.length > 20000) return again()
      image.onload = done
      image.onerror = again
      image.src = url
    }
    if (!json) return
    if (!tries && beacon(json)) return done()
    if (!self.fetch) return viaPixel()
    // Only at first with keepalive: others may have used up what there is of it.
    fetch(base, {method: "POST", body: json, keepalive: !tries && fits(json), credentials: "omit"}).then(function (answer) {
      answer.status < 500 && answer.status != 408 ? done() : again()
    }, viaPixel)
  }

  self.clickgate = function (type, what) {
    what = what || {}
    var program = what.program || own, now = Date.now(), id = now + "-" + Math.random()
    if (!program) return console.warn("clickgate: no program")
    var entry = {program: program, type: type, id: id, time_ms: now, params: what.params}
    if (!navigator.globalPrivacyControl) entry.visitor = what.visitor
    pending[id] = wellFormed(JSON.stringify(entry))
    if (!document.prerendering) attempt(id, 0)
    return id
  }

  // Nobody may ever see a page that is being prerendered: it sends once somebody does.
  document.addEventListener("prerenderingchange", function () {
    for (var id in pending) attempt(id, 0)
  })

  addEventListener("pagehide", function () {
    if (!document.prerendering) for (var id in pending) if (beacon(pending[id])) delete pending[id]
  })

  if (own) clickgate("impression")
})()
