use proptest::prelude::*;
use url::Url;

use super::*;

fn error(text: &str) -> (usize, &'static str) {
    let InvalidUrl { at, reason } = LandingUrl::parse(text).unwrap_err();
    (at, reason)
}

fn render(template: &str, click_id: &str, param: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut out = String::new();
    LandingUrl::parse(template).unwrap().render(click_id, param, &mut out);
    out
}

#[test]
fn values_are_encoded_and_the_rest_is_kept_byte_for_byte() {
    let template =
        "https://Shop.Example.com:443/a%2fb/../?q=1&&c={click_id}&x=%zz&s={p.utm_source}#/{p.gone}|";
    let rendered =
        render(template, "01-ab", |name| (name == "utm_source").then_some("a b&c=d/ü?#{click_id}\r\n"));
    assert_eq!(
        rendered,
        "https://Shop.Example.com:443/a%2fb/../?q=1&&c=01-ab&x=%zz\
         &s=a%20b%26c%3Dd%2F%C3%BC%3F%23%7Bclick_id%7D%0D%0A#/|"
    );
}

#[test]
fn a_url_without_macros_is_itself() {
    for text in ["https://a.example", "https://a.example?", "https://xn--bcher-kva.example/#x"] {
        assert_eq!(render(text, "id", |_| None), text);
    }
}

#[test]
fn scheme_and_host_may_be_in_capitals_and_stay_as_they_are() {
    let text = "HTTPS://Shop.EXAMPLE:443/Sale?Q={p.q}";
    assert_eq!(render(text, "id", |_| Some("A")), "HTTPS://Shop.EXAMPLE:443/Sale?Q=A");
    assert!(LandingUrl::parse(text).unwrap().is_https());
    let http = LandingUrl::parse_allowing_http("Http://Shop.Example/").unwrap();
    assert!(!http.is_https());
    assert_eq!(FallbackUrl::parse("hTTps://Shop.Example/A").unwrap().as_str(), "hTTps://Shop.Example/A");
    assert_eq!(error("HTTP://Shop.Example/"), (0, "http is only taken with \"allowHttp\": true; use https"));
    assert_eq!(error("HTTPS://Shop.Example:80/"), (21, "a port other than the scheme's own"));
}

#[test]
fn values_make_no_dot_segment_alone_together_or_with_text() {
    for (path, a, b, expected) in [
        ("/x/{p.a}/y", "..", "", "/x//y"),
        ("/x/{p.a}/y", ".", "", "/x//y"),
        ("/x/{p.a}", "..", "", "/x/"),
        ("/x/{p.a}?q={p.a}", "..", "", "/x/?q=.."),
        ("/x/{p.a}#{p.a}/..", "..", "", "/x/#../.."),
        ("/x/{p.a}{p.b}/y", ".", ".", "/x//y"),
        ("/x/{p.a}{p.b}/y", "..", "", "/x//y"),
        ("/x/{click_id}/y", "", "", "/x//y"),
        ("/x/.{p.a}/y", ".", "", "/x/./y"),
        ("/x/{p.a}./y", ".", "", "/x/./y"),
        ("/x/%{p.a}/y", "2e", "", "/x/%/y"),
        ("/x/%2{p.a}/y", "E", "", "/x/%2/y"),
        ("/x/%2{p.a}%{p.b}/y", "e", "2E", "/x/%2%/y"),
        ("/x/{p.a}%2e/y", ".", "", "/x/%2e/y"),
        // What is no dot segment stays, and the text's own dots are the text's.
        ("/x/{p.a}/y", "...", "", "/x/.../y"),
        ("/x/{p.a}/y", "%2e", "", "/x/%252e/y"),
        ("/x/{p.a}/y", "../..", "", "/x/..%2F../y"),
        ("/x/{p.a}.html", "..", "", "/x/...html"),
        ("/x/../{p.a}", "a", "", "/x/../a"),
        ("/x/..{p.a}/y", "", "", "/x/../y"),
        ("/{p.a/..?}/y", "", "", "//y"),
        ("?{p.a}/../{p.a}", "..", "", "?../../.."),
    ] {
        let template = format!("https://a.example{path}");
        let mut rendered = String::new();
        let param = |name: &str| match name {
            "a" => Some(a),
            "b" => Some(b),
            "a/..?" => Some(".."),
            _ => None,
        };
        LandingUrl::parse(&template).unwrap().render("..", param, &mut rendered);
        assert_eq!(rendered, format!("https://a.example{expected}"), "{path}");
    }
}

#[test]
fn rendering_into_room_enough_moves_nothing() {
    let mut out = String::with_capacity(1_024);
    let before = (out.as_ptr(), out.capacity());
    LandingUrl::parse("https://a.example/{p.a}/{p.b}?{p.a}").unwrap().render("id", |_| Some(".."), &mut out);
    assert_eq!((out.as_ptr(), out.capacity()), before);
}

#[test]
fn an_error_names_the_byte_and_the_reason() {
    for (text, expected) in [
        ("https://a.example/ b", (18, "a space; write %20")),
        ("https://a.example/\r\n", (18, "a line break")),
        ("https://a.example/\0", (18, "a control character")),
        ("https://a.example/\\b", (18, "a backslash, which browsers read as a slash")),
        ("https://a.example/ü", (18, "not ASCII; percent-encode it, or write the host in punycode")),
        ("https://a.example/{p.x", (18, "a { that is not closed")),
        ("https://a.example/p.x}", (21, "a } that closes nothing")),
        ("https://a.example/{p.{p.x}}", (21, "a { inside a macro")),
        ("https://a.example/{ip}", (18, "an unknown macro; there are {click_id} and {p.name}")),
        ("https://a.example/{p.}", (18, "the name of a parameter has 1 to 64 bytes")),
        ("https://a.example:8443/", (18, "a port other than the scheme's own")),
        ("https://a.example:/", (18, "a port other than the scheme's own")),
        ("https://a..example/", (10, "an empty part in the host name")),
        ("https://{p.host}/", (8, "a macro may not stand in the host or the port")),
        ("{p.scheme}://a.example/", (0, "does not start with https://")),
        ("http://a.example/", (0, "http is only taken with \"allowHttp\": true; use https")),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
    assert_eq!(InvalidUrl { at: 3, reason: "a space" }.to_string(), "byte 3: a space");
}

#[test]
fn the_length_ends_at_4096_bytes() {
    let text = |bytes: usize| format!("https://a.example/{}", "a".repeat(bytes - 18));
    assert!(LandingUrl::parse(&text(4_096)).is_ok());
    assert_eq!(error(&text(4_097)), (4_096, "a URL has at most 4096 bytes"));
}

/// Ways to another host, to no host, or to another reading of the same text.
const BYPASSES: &[&str] = &[
    "",
    "/",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https:////evil.example",
    "https:\\\\evil.example",
    "https://\\evil.example",
    "https://?evil.example",
    "https://#evil.example",
    " https://evil.example",
    "\thttps://evil.example",
    "ht\ntps://evil.example",
    "https://a.example\t.evil.example",
    "https://a.example@evil.example",
    "https://a.example:443@evil.example",
    "https://a.example%40evil.example",
    "https://a.example%2eevil.example",
    "https://a.example\\@evil.example",
    "https://a.example\\.evil.example",
    "https://a.example;.evil.example",
    "https://a.example&.evil.example",
    "https://user@a.example",
    "https://:pass@a.example",
    "https://@a.example",
    "https://a.example{p.x}",
    "https://a.example.{p.x}/",
    "https://{click_id}.a.example/",
    "https://a.example:{p.port}/",
    "https://a.example:443{p.x}",
    "https://a.example:4433/",
    "https://a.example:0443/",
    "https://a.example:80/",
    "https://a.example:443:443/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0X7F.1/",
    "https://0x/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://1.2.3.4.5/",
    "https://a.example.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://127。0。0。1/",
    "https://evil。example/",
    "https://ⓔⓥⓘⓛ.example/",
    "https://еxample.com/",
    "https://a.example\u{202e}/",
    "https://a.example./",
    "https://.a.example/",
    "https://-a.example/",
    "https://a_b.example/",
    "https://a.example\0.evil.example/",
    "https://a.example\r\nLocation:https://evil.example/",
    "https://a.example/\r\nSet-Cookie:x=1",
    "https://a.example/\u{7f}",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "javascript://a.example/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "ftp://a.example/",
    "blob:https://a.example/x",
    "view-source:https://a.example/",
    "HTTPS:/a.example/",
    "HTTP://a.example/",
    "http://a.example/",
    "https",
    "https://",
    "{p.url}",
    "https://a.example/{p.x",
    "https://a.example/}{",
    "https://a.example/{P.x}",
    "https://a.example/{click_id }",
    "https://a.example/{{click_id}}",
];

#[test]
fn no_known_redirect_bypass_is_a_landing_url() {
    for text in BYPASSES {
        assert!(LandingUrl::parse(text).is_err(), "{text:?} was taken");
    }
}

#[test]
fn a_label_ends_at_63_bytes_and_a_host_at_253() {
    let label = |bytes: usize| format!("https://{}.example/", "a".repeat(bytes));
    assert!(LandingUrl::parse(&label(63)).is_ok());
    assert_eq!(error(&label(64)), (8, "a part of the host name has more than 63 bytes"));
    let host = |bytes: usize| format!("https://{}", &"abcdefg.".repeat(40)[..bytes]);
    assert!(LandingUrl::parse(&host(253)).is_ok());
    assert_eq!(error(&host(254)), (261, "a host name has at most 253 bytes"));
}

fn encoded(value: &str) -> String {
    let mut out = String::new();
    percent_encode(value, &mut out);
    out
}

/// A browser's reading of what was rendered, to be the template's.
fn reads_as_the_template(template: &str, rendered: &str) -> Result<(), TestCaseError> {
    let authority = template["https://".len()..].split(['/', '?', '#']).next().unwrap();
    let host = authority.split(':').next().unwrap().to_ascii_lowercase();
    let Ok(url) = Url::parse(rendered) else {
        prop_assert!(host.contains("xn--"), "{template:?} rendered {rendered:?}, which is no URL");
        return Ok(());
    };
    prop_assert_eq!(url.scheme(), "https");
    prop_assert_eq!(url.port(), None);
    prop_assert_eq!((url.username(), url.password()), ("", None));
    if !host.contains("xn--") {
        prop_assert_eq!(url.host_str(), Some(host.as_str()));
        prop_assert!(matches!(url.host(), Some(url::Host::Domain(_))));
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_value_changes_scheme_host_or_port(
        rest in "(/|\\?|#)([a-z./?#&=@:]{0,6}(\\{click_id\\}|\\{p\\.x\\})){0,4}",
        click_id in ".{0,20}",
        value in any::<String>(),
    ) {
        let template = format!("https://shop.example.com{rest}");
        let mut rendered = String::new();
        LandingUrl::parse(&template).unwrap().render(&click_id, |_| Some(value.as_str()), &mut rendered);
        reads_as_the_template(&template, &rendered)?;
        let breaks_out = rendered.contains(['\r', '\n', ' ', '\\', '{', '}']);
        prop_assert!(rendered.is_ascii() && !breaks_out, "{}", rendered);
    }

    #[test]
    fn whatever_is_taken_reads_the_same_to_a_browser(
        scheme in "(https|HTTPS|Https)",
        authority in "[a-zA-Z0-9.:@%_\\-\\[\\]x{}]{0,12}",
        rest in "[/?#\\\\@:{}.a-z\t ]{0,8}",
        value in ".{0,8}",
    ) {
        let template = format!("{scheme}://{authority}{rest}");
        if let Ok(url) = LandingUrl::parse(&template) {
            let mut rendered = String::new();
            url.render(&value, |_| Some(value.as_str()), &mut rendered);
            reads_as_the_template(&template, &rendered)?;
        }
    }

    /// A browser comes to the folder that it comes to without the values.
    #[test]
    fn no_value_leads_a_browser_to_another_folder(
        segments in prop::collection::vec("(x|\\.|%|2|e|E|\\{p\\.a\\}|\\{p\\.b\\}|\\{click_id\\}){0,4}", 1..5),
        behind in "(|[?#](/|\\.|\\{p\\.a\\}){0,4})",
        values in prop::array::uniform3("(\\.|%2e|%|2|e|2E|/|x){0,3}"),
    ) {
        let template = format!("https://a.example/{}{behind}", segments.join("/"));
        let [a, b, click_id] = &values;
        let value = |name: &str| Some(if name == "a" { a.as_str() } else { b.as_str() });
        let url = LandingUrl::parse(&template).unwrap();
        let mut rendered = String::new();
        url.render(click_id, value, &mut rendered);
        // A slash of a value is encoded, so each segment of the template is one of the URL.
        let path = rendered["https://a.example/".len()..].split(['?', '#']).next().unwrap();
        let found: Vec<&str> = path.split('/').collect();
        prop_assert_eq!(found.len(), segments.len());
        for (segment, found) in segments.iter().zip(found) {
            let text = segment.replace("{p.a}", "").replace("{p.b}", "").replace("{click_id}", "");
            let alone = Url::parse(&format!("https://a.example/s/{found}/t")).unwrap();
            if alone.path_segments().unwrap().count() < 3 {
                prop_assert_eq!(found, &text, "{} is a dot segment of {}", found, template);
            } else {
                let filled = segment.replace("{p.a}", &encoded(a)).replace("{p.b}", &encoded(b)).replace("{click_id}", &encoded(click_id));
                prop_assert!(found == filled || found == text, "{} of {}", found, template);
            }
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>(), near in "https?://.{0,30}") {
        let _ = LandingUrl::parse(&text);
        let _ = LandingUrl::parse_allowing_http(&near);
    }
}
