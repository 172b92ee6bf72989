//! Without TLS: paths, methods, and what is not HTTP.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use weir_service::http::{Way, is_plain};

use crate::world::{Served, ask_plainly, within};

async fn ask(request: &str) -> String {
    let served = Served::start(Way::Plain).await;
    ask_plainly(served.address(), request).await
}

async fn get(path: &str) -> String {
    ask(&format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ))
    .await
}

#[tokio::test]
async fn pages_are_served_with_their_kind() {
    let answer = get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
    assert!(get("/health").await.ends_with("\r\n\r\nok\n"));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    assert!(get("/").await.starts_with("HTTP/1.1 404 "));
    let answer = ask("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
}

#[tokio::test]
async fn what_is_not_http_is_answered_and_closed() {
    for bytes in ["\0\x01\x02\r\n\r\n", "GET\r\n\r\n"] {
        let answer = ask(bytes).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(16 * 1024));
    let answer = ask(&long).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_connection_too_many_takes_the_place_of_the_oldest() {
    let served = Served::start(Way::Plain).await;
    let mut kept = Vec::new();
    for _ in 0..65 {
        kept.push(TcpStream::connect(served.address()).await.unwrap());
    }
    assert_eq!(within(kept[0].read(&mut [0; 1])).await.unwrap(), 0);
    for stream in [1, 64] {
        let stream = &mut kept[stream];
        let request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
}

#[test]
fn only_loopback_is_served_plainly() {
    for (address, plain) in [
        ("127.0.0.1:9464", true),
        ("127.3.0.1:9464", true),
        ("[::1]:9464", true),
        ("[::ffff:127.0.0.1]:9464", true),
        ("0.0.0.0:9464", false),
        ("[::]:9464", false),
        ("10.9.0.2:9464", false),
        ("[fd00::1]:9464", false),
    ] {
        assert_eq!(is_plain(address.parse().unwrap()), plain, "{address}");
    }
}
