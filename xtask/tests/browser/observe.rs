//! The page of `up --observe`.

use crate::chromium::dom;
use crate::harness::Platform;
use crate::observer::{
    attribute, is_registration, must_come_up, register, send, span, trace_of, url,
};

/// How often a page is opened until it has to show what it should.
const LOOKS: u32 = 4;

#[test]
fn the_trace_of_the_call_just_made_is_on_the_page() {
    let platform = Platform::of_services();
    must_come_up(&platform);
    register(&platform, "grace");
    let request = register(&platform, "ada");
    // Consumers of its event take a moment longer than its answer.
    let trace = trace_of(&platform, &request, is_registration);
    let id = trace["summary"]["id"].as_str().unwrap();
    let page = url(&platform);

    shows(
        &format!("{page}/?request={request}"),
        &[
            "<h1>POST /api/v1/auth/register <span class=\"badge good\">200</span></h1>",
            ">POST /api/v1/auth/register</button>",
            ">mainstay.auth.v1.AuthService/Register</button>",
            ">mainstay.identity.v1.UserService/CreateUser</button>",
            ">handle event mainstay.auth.v1.AccountRegistered</button>",
            "identity-svc</span>",
            "audit-svc</span>",
            &format!("<code>{id}</code>"),
            &format!("<code>{request}</code>"),
            "<span>POST /api/v1/auth/register 200</span>",
        ],
    );
    shows(
        &format!("{page}/?text={request}"),
        &["1 of 2 traces", &format!("href=\"/?trace={id}\""), "POST /api/v1/auth/register</a>"],
    );
    shows(
        &format!("{page}/?view=logs&service=gateway"),
        &["<span>POST /api/v1/auth/register 200</span>", &format!("href=\"/?trace={id}\"")],
    );
    shows(
        &format!("{page}/?view=metrics"),
        &[
            "<code>POST /api/v1/auth/register</code>",
            "<code>mainstay.auth.v1.AuthService/Register</code>",
            "<code>audit-svc.trail</code>",
        ],
    );
}

#[test]
fn a_request_that_is_not_there_yet_is_waited_for() {
    let platform = Platform::of_stand_ins();
    must_come_up(&platform);
    let page = url(&platform);
    shows(&format!("{page}/?request=req-1"), &["No trace of the request req-1 has come yet."]);
    shows(&page, &["No trace yet."]);
}

#[test]
fn what_spans_and_their_service_say_stays_text() {
    let platform = Platform::of_stand_ins();
    must_come_up(&platform);
    let image = "<img src=x onerror=\"document.title='owned'\">";
    let script = "<script>document.title='owned'</script>";
    let mut hostile = span(1, image);
    hostile.attributes.push(attribute("request_id", "req-1"));
    hostile.attributes.push(attribute(script, script));
    hostile.attributes.push(attribute("url", "javascript:document.title='owned'"));
    send(&platform, "\"><svg onload=document.title='owned'>", vec![hostile]).unwrap();
    let page = url(&platform);
    for address in [format!("{page}/?request=req-1"), format!("{page}/")] {
        let dom = shows(
            &address,
            &[
                "&lt;img src=x onerror=\"document.title='owned'\"&gt;",
                "\"&gt;&lt;svg onload=document.title='owned'&gt;",
            ],
        );
        for markup in ["<img src=\"x", "<img src=x", "<script>", "<svg onload", "<title>owned"] {
            assert!(!dom.contains(markup), "{markup} is in\n{dom}");
        }
    }
    let dom = shows(&format!("{page}/?request=req-1"), &["&lt;script&gt;document.title"]);
    assert!(!dom.contains("href=\"javascript:"), "{dom}");
}

/// The document of a page, once it shows what it has to: what has come a moment ago may be on it a
/// moment later.
fn shows(url: &str, wanted: &[&str]) -> String {
    let mut document = String::new();
    for _ in 0..LOOKS {
        document = dom(url);
        if wanted.iter().all(|wanted| document.contains(wanted)) {
            return document;
        }
    }
    let missing: Vec<_> = wanted.iter().filter(|wanted| !document.contains(**wanted)).collect();
    panic!("{url} does not show {missing:?}:\n{document}")
}
