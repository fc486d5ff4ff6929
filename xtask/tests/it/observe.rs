//! `up --observe`: the trace of the call just made, and who may see it.

use std::net::TcpListener;

use crate::harness::{Platform, eventually};
use crate::observer::{
    attribute, get_from, has_span, is_registration, json, must_come_up, ports, register, send,
    span, trace_of, url,
};
use crate::port::is_free;

#[test]
fn a_request_leads_to_its_trace_with_the_consumers_of_its_event() {
    let platform = Platform::of_services();
    let said = must_come_up(&platform);
    let page = url(&platform);
    assert!(said.out.contains(&page), "{}", said.out);
    assert!(platform.run(&["status"]).out.contains(&page));

    let request = register(&platform, "ada");
    let trace = trace_of(&platform, &request, is_registration);
    let summary = &trace["summary"];
    assert_eq!(
        (&summary["name"], &summary["status"]),
        (&"POST /api/v1/auth/register".into(), &"200".into())
    );
    assert_eq!(trace["rows"][0]["service"], "gateway", "{trace:#}");
    assert!(trace["lines"].as_array().unwrap().iter().any(|line| line["request"] == *request));

    let found = json(&platform, &format!("/api/traces?text={request}")).unwrap();
    assert_eq!(found["traces"].as_array().unwrap().len(), 1, "{found:#}");
    assert_eq!(found["traces"][0]["id"], summary["id"]);
    let found = json(&platform, &format!("/api/logs?text={request}&service=gateway")).unwrap();
    assert_eq!(found["lines"][0]["trace"], summary["id"], "{found:#}");

    // A process that was started again sends its spans too.
    assert!(platform.run(&["restart", "identity-svc", "--no-build"]).success);
    let request = register(&platform, "grace");
    trace_of(&platform, &request, is_registration);

    let report = eventually("both calls are counted", || {
        json(&platform, "/api/metrics").filter(|report| {
            let routes = report["routes"].as_array().unwrap();
            let name = "POST /api/v1/auth/register";
            routes.iter().any(|route| route["name"] == name && route["calls"] == 2.0)
        })
    });
    let services = report["services"].as_array().unwrap();
    assert_eq!(services.len(), 6);
    assert!(services.iter().all(|service| service["up"] == true), "{report:#}");

    assert!(platform.run(&["down"]).success);
    platform.assert_nothing_is_left(&[]);
    for port in ports(&platform) {
        assert!(is_free(port), "somebody still listens on port {port}");
    }
}

#[test]
fn a_page_of_another_site_gets_nothing() {
    let platform = Platform::of_stand_ins();
    must_come_up(&platform);
    let paths = ["/", "/app.js", "/api/traces", "/api/logs", "/api/metrics"];
    for path in paths {
        for host in ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:80@evil.example"] {
            let reply = get_from(&platform, host, path);
            assert_eq!(reply.status, 421, "{host}{path}");
            assert!(!reply.body.contains("traces"), "{}", reply.body);
        }
        let reply = get_from(&platform, "localhost", path);
        assert_eq!(reply.status, 200, "{path}");
        let head = reply.head.to_lowercase();
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
        assert!(!head.contains("access-control-"), "{head}");
    }
}

#[test]
fn spans_are_taken_by_otlp_within_limits() {
    let platform = Platform::of_stand_ins();
    must_come_up(&platform);
    let mut foreign = span(1, "<b>checkout</b>");
    foreign.attributes.push(attribute("request_id", "req-1"));
    let nameless = span(0, "no id");
    let reply = send(&platform, "shop-svc", vec![foreign, nameless]).unwrap();
    assert_eq!(reply.partial_success.unwrap().rejected_spans, 1);
    let trace = trace_of(&platform, "req-1", |_| true);
    assert!(has_span(&trace, "shop-svc", "<b>checkout</b>"), "{trace:#}");

    let large = span(2, &"x".repeat(5 * 1024 * 1024));
    let refused = send(&platform, "shop-svc", vec![large]).unwrap_err();
    assert!(refused.message().contains("limit"), "{refused}");
    let list = json(&platform, "/api/traces").unwrap();
    assert_eq!(list["kept"], 1, "{list:#}");
    assert!(json(&platform, &format!("/api/traces/{}", "0".repeat(32))).is_none());
    assert!(json(&platform, "/api/requests/req-2").is_none());
}

#[test]
fn a_port_of_the_observer_in_use_is_named_and_nobody_listens_unasked() {
    let platform = Platform::of_stand_ins();
    let [page, _] = ports(&platform);
    let taken = TcpListener::bind(("127.0.0.1", page)).unwrap();
    let refused = platform.said(&mut platform.up_command(&["--observe", "--detach"]));
    assert!(!refused.success);
    let wanted = format!("port {page} of the page of --observe is in use by");
    assert!(refused.err.contains(&wanted), "{}", refused.err);
    // Without it the port is nobody's concern.
    let said = platform.must_come_up();
    assert!(!said.out.contains("observe"), "{}", said.out);
    drop(taken);
    for port in ports(&platform) {
        assert!(is_free(port), "somebody listens on port {port}");
    }
}
