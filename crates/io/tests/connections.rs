//! The I/O thread against peers on loopback: framing, deadlines, poison, fairness and the end.

mod peer;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ottla_core::seam::LostKind;
use ottla_io::IoEvent;
use peer::{Bench, PATIENCE, answer_to, echo, options, peer, read_frame, request, wait_readable};

#[test]
fn an_answer_comes_back_with_its_token() {
    let (address, thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    for token in 0..100 {
        bench
            .io
            .request(conn, token, request(&[token as u8; 30]), PATIENCE, true);
    }
    for token in 0..100 {
        assert_eq!(bench.response(token), [token as u8; 30]);
    }
    bench.io.close(conn);
    assert_eq!(bench.wait_lost(conn).0, LostKind::Closed);
    thread.join().unwrap();
    assert_eq!(bench.rest(), []);
}

#[test]
fn frames_are_put_together_from_single_bytes() {
    let (address, _thread) = peer(1, |mut stream| {
        stream.set_nodelay(true).unwrap();
        let asked = read_frame(&mut stream).unwrap();
        for byte in answer_to(&asked, b"slowly") {
            stream.write_all(&[byte]).unwrap();
        }
        echo(stream);
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(conn, 1, request(b"x"), PATIENCE, true);
    assert_eq!(bench.response(1), b"slowly");
}

#[test]
fn many_frames_of_one_read_are_emitted_in_order() {
    let (address, _thread) = peer(1, |mut stream| {
        let asked: Vec<_> = (0..50).map(|_| read_frame(&mut stream).unwrap()).collect();
        let answers: Vec<u8> = asked
            .iter()
            .flat_map(|frame| answer_to(frame, &frame[8..]))
            .collect();
        stream.write_all(&answers).unwrap();
        echo(stream);
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    for token in 0..50 {
        bench
            .io
            .request(conn, token, request(&[token as u8]), PATIENCE, true);
    }
    for token in 0..50 {
        assert_eq!(bench.response(token), [token as u8]);
    }
}

#[test]
fn large_requests_and_answers_pass_a_slow_reader() {
    let (go, wait) = mpsc::channel::<()>();
    let (address, _thread) = peer(1, move |stream| {
        wait.recv_timeout(PATIENCE).unwrap();
        echo(stream);
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let body: Vec<u8> = (0..20_000_000u32).map(|i| (i % 251) as u8).collect();
    bench.io.request(conn, 1, request(&body), PATIENCE, true);
    bench.io.request(conn, 2, request(b"after"), PATIENCE, true);
    go.send(()).unwrap();
    assert!(bench.response(1) == body);
    assert_eq!(bench.response(2), b"after");
}

/// Checks the kind and message of the loss when a peer sends these bytes instead of an answer.
fn poison(says: &'static [u8], kind: LostKind, word: &str) {
    let (address, _thread) = peer(1, move |mut stream| {
        read_frame(&mut stream).unwrap();
        read_frame(&mut stream).unwrap();
        stream.write_all(says).unwrap();
        let mut rest = Vec::new();
        // The client closes the connection; the result here does not matter.
        let _ = stream.read_to_end(&mut rest);
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(conn, 7, request(b""), PATIENCE, true);
    bench.io.request(conn, 8, request(b""), PATIENCE, true);
    let (lost, message, tokens) = bench.wait_lost(conn);
    assert_eq!((lost, tokens), (kind, vec![7, 8]), "{message}");
    assert!(message.contains(word), "{message}");
    assert!(!message.contains("127.0.0.1"), "{message}");
    bench.io.request(conn, 9, request(b""), PATIENCE, true);
    assert_eq!(bench.wait_lost(conn), (kind, message, vec![9]));
}

#[test]
fn an_invalid_length_poisons_and_is_explained() {
    poison(
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        LostKind::Protocol,
        "HTTP",
    );
    poison(&[0x15, 3, 3, 0, 2, 2, 70], LostKind::Protocol, "TLS alert");
    poison(&[0x7f, 0xff, 0xff, 0xff], LostKind::Protocol, "2147483647");
    poison(&[0xff, 0xff, 0xff, 0xff], LostKind::Protocol, "-1");
}

#[test]
fn an_answer_to_no_request_poisons() {
    poison(
        &[0, 0, 0, 4, 0, 0, 0, 99],
        LostKind::Protocol,
        "correlation id 99",
    );
}

#[test]
fn the_end_of_the_stream_fails_every_waiting_request() {
    let (address, _thread) = peer(1, |mut stream| {
        read_frame(&mut stream).unwrap();
        stream.write_all(&[0, 0, 1, 0, 5]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(read_frame(&mut stream).is_none());
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(conn, 3, request(b""), PATIENCE, true);
    let (kind, message, tokens) = bench.wait_lost(conn);
    assert_eq!((kind, tokens), (LostKind::Eof, vec![3]));
    assert!(message.contains("5 of 260 bytes"), "{message}");
}

#[test]
fn a_reset_is_named() {
    let (address, _thread) = peer(1, |mut stream| {
        let mut part = [0; 4];
        // Closing with unread bytes makes the system send a reset.
        stream.read_exact(&mut part).unwrap();
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench
        .io
        .request(conn, 1, request(&[0; 1000]), PATIENCE, true);
    let (kind, message, _) = bench.wait_lost(conn);
    assert_eq!(kind, LostKind::Io);
    assert!(message.contains("reset"), "{message}");
}

#[test]
fn a_deadline_poisons_and_names_the_request() {
    let (address, _thread) = peer(1, |mut stream| while read_frame(&mut stream).is_some() {});
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(conn, 1, request(b""), PATIENCE, true);
    bench
        .io
        .request(conn, 2, request(b""), Duration::from_millis(30), true);
    let (kind, message, tokens) = bench.wait_lost(conn);
    assert_eq!((kind, tokens), (LostKind::RequestTimeout, vec![1, 2]));
    assert!(
        message.contains("Metadata request (correlation id 2)"),
        "{message}"
    );
}

#[test]
fn a_request_that_is_not_written_has_a_deadline_too() {
    let (done, wait) = mpsc::channel::<()>();
    let (address, _thread) = peer(1, move |_stream| {
        let _ = wait.recv_timeout(PATIENCE);
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(
        conn,
        1,
        request(&vec![0; 50 << 20]),
        Duration::from_millis(50),
        false,
    );
    let (kind, message, tokens) = bench.wait_lost(conn);
    assert_eq!((kind, tokens), (LostKind::RequestTimeout, vec![]));
    assert!(message.contains("not taken by the network"), "{message}");
    done.send(()).unwrap();
}

#[test]
fn a_request_without_answer_leaves_no_trace() {
    let (address, _thread) = peer(1, |mut stream| {
        assert_eq!(read_frame(&mut stream).unwrap()[8..], *b"silent");
        echo(stream);
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench
        .io
        .request(conn, 1, request(b"silent"), PATIENCE, false);
    bench.io.request(conn, 2, request(b"asked"), PATIENCE, true);
    assert_eq!(bench.response(2), b"asked");
    assert_eq!(bench.rest(), []);
}

#[test]
fn a_refused_connection_carries_the_system_s_words() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut bench = Bench::start();
    let conn = bench.io.connect(&options(address));
    let (kind, message, _) = bench.wait_lost(conn);
    assert_eq!(kind, LostKind::Connect);
    assert!(message.starts_with("Connection refused"), "{message}");
}

#[test]
fn a_request_made_while_connecting_waits_for_the_connection() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.io.connect(&options(address));
    bench.io.request(conn, 1, request(b"early"), PATIENCE, true);
    bench.connected(conn);
    assert_eq!(bench.response(1), b"early");
}

#[test]
fn closing_fails_waiting_requests() {
    let (address, _thread) = peer(1, |mut stream| while read_frame(&mut stream).is_some() {});
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(conn, 5, request(b""), PATIENCE, true);
    bench.io.close(conn);
    bench.io.close(conn);
    let (kind, _, tokens) = bench.wait_lost(conn);
    assert_eq!((kind, tokens), (LostKind::Closed, vec![5]));
    assert_eq!(bench.rest(), []);
}

#[test]
fn two_hundred_connections_are_served_side_by_side() {
    const COUNT: u64 = 200;
    let (address, thread) = peer(COUNT as usize, |stream| {
        std::thread::spawn(move || echo(stream));
    });
    let mut bench = Bench::start();
    let conns: Vec<_> = (0..COUNT)
        .map(|_| bench.io.connect(&options(address)))
        .collect();
    for conn in &conns {
        bench.connected(*conn);
    }
    thread.join().unwrap();
    for round in 0..3 {
        for (i, conn) in conns.iter().enumerate() {
            let token = round * COUNT + i as u64;
            bench
                .io
                .request(*conn, token, request(&token.to_be_bytes()), PATIENCE, true);
        }
    }
    for token in 0..3 * COUNT {
        assert_eq!(bench.response(token), token.to_be_bytes());
    }
}

#[test]
fn a_heartbeat_is_repeated_and_reports_only_errors() {
    let (address, _thread) = peer(1, |mut stream| {
        for code in [0u8, 0, 27] {
            let asked = read_frame(&mut stream).unwrap();
            stream.write_all(&answer_to(&asked, &[0, code])).unwrap();
        }
        while read_frame(&mut stream).is_some() {}
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let beat = bench.io.beat(
        conn,
        request(b""),
        Duration::from_millis(5),
        Duration::from_millis(200),
        4,
    );
    let code = bench.wait(|event| match event {
        IoEvent::Beat { beat: its, frame } if *its == beat => Some(frame[4..].to_vec()),
        _ => None,
    });
    assert_eq!(code, [0, 27]);
    let missed = bench.wait(|event| match event {
        IoEvent::BeatMissed { beat: its, cause } if *its == beat => Some(cause.message.clone()),
        _ => None,
    });
    let (kind, message, tokens) = bench.wait_lost(conn);
    assert_eq!(
        (kind, message, tokens),
        (LostKind::RequestTimeout, missed, vec![])
    );
}

#[test]
fn shutdown_fails_every_request_and_refuses_later_ones() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    assert!(bench.io.shutdown(PATIENCE));
    assert_eq!(bench.wait_lost(conn).0, LostKind::Closed);
    let late = bench.io.connect(&options(address));
    assert_eq!(bench.wait_lost(late).0, LostKind::Closed);
    bench.io.request(late, 4, request(b""), PATIENCE, true);
    assert_eq!(bench.wait_lost(late).2, [4]);
    assert!(bench.io.shutdown(PATIENCE));
}

#[test]
fn an_idle_thread_sleeps() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    bench.io.request(conn, 1, request(b""), PATIENCE, true);
    bench.response(1);
    let before = bench.io.statistics().turns;
    assert!(!wait_readable(
        bench.io.bell_fd(),
        Instant::now() + Duration::from_millis(200)
    ));
    assert!(bench.io.statistics().turns - before <= 1);
}
