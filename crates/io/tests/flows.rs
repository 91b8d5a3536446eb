//! The contract of calls of a flow: their order, and that the thread never makes two at a time.

mod peer;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_core::ids::{ConnId, Micros};
use ottla_core::seam::{BadResponse, Bell, Flow, LostCause, LostKind, OutRequest, WakeIo};
use ottla_io::{Handle, clock};
use parking_lot::Mutex;
use peer::{Bench, PATIENCE, answer_to, echo, peer, read_frame, request};

#[derive(Default)]
struct Script {
    /// Bodies to send, in order, each with whether an answer is expected.
    to_send: Vec<(Vec<u8>, bool)>,
    sent: u64,
    answers: Vec<(ConnId, u64, Bytes)>,
    taken: Vec<(ConnId, u64)>,
    lost: Vec<(ConnId, LostCause)>,
    ticks: Vec<Micros>,
    next_tick: Option<Micros>,
    refuse: bool,
}

/// Sends the bodies of its script and records the calls that it receives.
struct Fake {
    script: Mutex<Script>,
    inside: AtomicBool,
    deadline: Duration,
    bell: Arc<dyn Bell>,
}

/// Fails the test when two calls of the thread overlap.
struct Inside<'a>(&'a AtomicBool);

impl<'a> Inside<'a> {
    fn enter(flag: &'a AtomicBool) -> Self {
        assert!(!flag.swap(true, Ordering::SeqCst), "two calls at a time");
        assert_eq!(std::thread::current().name(), Some("ottla-io"));
        Self(flag)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Flow for Fake {
    fn next_request(&self, _conn: ConnId, correlation_id: i32, now: Micros) -> Option<OutRequest> {
        let _inside = Inside::enter(&self.inside);
        let mut script = self.script.lock();
        if script.to_send.is_empty() {
            return None;
        }
        let (body, expects_response) = script.to_send.remove(0);
        script.sent += 1;
        self.bell.ring();
        let header = [&[0, 0, 0, 11][..], &correlation_id.to_be_bytes()].concat();
        Some(OutRequest {
            token: script.sent,
            segments: vec![header.into(), Bytes::new(), body.into()],
            deadline: now + clock::micros(self.deadline),
            expects_response,
            answer_bytes: 0,
        })
    }

    fn on_response(
        &self,
        conn: ConnId,
        token: u64,
        frame: Bytes,
        _now: Micros,
    ) -> Result<(), BadResponse> {
        let _inside = Inside::enter(&self.inside);
        let mut script = self.script.lock();
        script.answers.push((conn, token, frame));
        self.bell.ring();
        if script.refuse {
            return Err(BadResponse("not a produce response".into()));
        }
        Ok(())
    }

    fn on_taken(&self, conn: ConnId, token: u64, _now: Micros) {
        let _inside = Inside::enter(&self.inside);
        self.script.lock().taken.push((conn, token));
        self.bell.ring();
    }

    fn on_lost(&self, conn: ConnId, cause: &LostCause, _now: Micros) {
        let _inside = Inside::enter(&self.inside);
        self.script.lock().lost.push((conn, cause.clone()));
        self.bell.ring();
    }

    fn on_tick(&self, now: Micros) -> Option<Micros> {
        let _inside = Inside::enter(&self.inside);
        let mut script = self.script.lock();
        script.ticks.push(now);
        if script.next_tick.is_some_and(|next| next <= now) {
            script.next_tick = None;
            script.to_send.push((b"ticked".to_vec(), true));
        }
        script.next_tick
    }
}

fn fake(io: &Handle) -> (Arc<Fake>, u64, Arc<dyn WakeIo>) {
    let flow = Arc::new(Fake {
        script: Mutex::default(),
        inside: AtomicBool::new(false),
        deadline: PATIENCE,
        bell: io.bell(),
    });
    let (id, waker) = io.register_flow(flow.clone());
    (flow, id, waker)
}

impl Fake {
    fn send(&self, bodies: impl IntoIterator<Item = Vec<u8>>) {
        let bodies = bodies.into_iter().map(|body| (body, true));
        self.script.lock().to_send.extend(bodies);
    }

    fn until(&self, bench: &mut Bench, reached: impl Fn(&Script) -> bool) {
        bench.until(|| reached(&self.script.lock()));
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests_and_without_correlation_id() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let (flow, id, waker) = fake(&bench.io);
    bench.io.attach(id, conn);
    flow.send((0..300u32).map(|i| i.to_be_bytes().to_vec()));
    waker.wake_io();
    flow.until(&mut bench, |script| script.answers.len() == 300);
    let script = flow.script.lock();
    for (i, (its, token, frame)) in script.answers.iter().enumerate() {
        let expected = (i as u32).to_be_bytes();
        assert_eq!(
            (*its, *token, &frame[..]),
            (conn, i as u64 + 1, &expected[..])
        );
    }
}

#[test]
fn messages_that_wait_at_attach_need_no_wake() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let (flow, id, _waker) = fake(&bench.io);
    flow.send([b"early".to_vec()]);
    let conn = bench.connect(address);
    bench.io.attach(id, conn);
    flow.until(&mut bench, |script| script.answers.len() == 1);
}

#[test]
fn control_requests_share_the_queue_of_a_flow() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let (flow, id, waker) = fake(&bench.io);
    bench.io.attach(id, conn);
    for token in 0..50 {
        flow.send([vec![1; 10]]);
        waker.wake_io();
        bench
            .io
            .request(conn, token, request(b"control"), PATIENCE, true);
    }
    for token in 0..50 {
        assert_eq!(bench.response(token), b"control");
    }
    flow.until(&mut bench, |script| script.answers.len() == 50);
}

#[test]
fn a_flow_is_asked_for_no_more_than_the_socket_takes() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let (flow, id, waker) = fake(&bench.io);
    bench.io.attach(id, conn);
    flow.send((0..40u8).map(|i| vec![i; 1 << 20]));
    waker.wake_io();
    flow.until(&mut bench, |script| script.answers.len() == 40);
    let script = flow.script.lock();
    assert!(
        script
            .answers
            .iter()
            .enumerate()
            .all(|(i, (_, _, frame))| frame[..] == vec![i as u8; 1 << 20])
    );
}

#[test]
fn a_request_without_answer_is_reported_once_the_socket_has_taken_it() {
    let (go, wait) = std::sync::mpsc::channel();
    let (address, _thread) = peer(1, move |mut stream| {
        wait.recv_timeout(PATIENCE).unwrap();
        while read_frame(&mut stream).is_some() {}
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let (flow, id, waker) = fake(&bench.io);
    bench.io.attach(id, conn);
    let bodies = (0..40u8).map(|i| (vec![i; 1 << 20], i % 2 == 1));
    flow.script.lock().to_send.extend(bodies);
    waker.wake_io();
    flow.until(&mut bench, |script| !script.taken.is_empty());
    let script = flow.script.lock();
    let (sent, taken) = (script.sent, script.taken.len());
    assert!(
        sent < 40,
        "the peer reads nothing: {sent} of 40 MiB were requested"
    );
    assert!(taken as u64 <= sent / 2 + 1, "{taken} of {sent}");
    drop(script);
    go.send(()).unwrap();
    flow.until(&mut bench, |script| script.taken.len() == 20);
    let unanswered: Vec<_> = (0..20).map(|i| (conn, 2 * i + 1)).collect();
    assert_eq!(flow.script.lock().taken, unanswered, "each once, in order");
}

#[test]
fn a_tick_comes_at_the_requested_time() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let (flow, id, waker) = fake(&bench.io);
    bench.io.attach(id, conn);
    let due = clock::now() + 20_000;
    flow.script.lock().next_tick = Some(due);
    waker.wake_io();
    flow.until(&mut bench, |script| script.answers.len() == 1);
    let script = flow.script.lock();
    assert!(script.ticks.iter().any(|at| *at >= due));
    assert!(script.ticks.len() < 10, "{:?}", script.ticks);
}

#[test]
fn a_bad_response_poisons_the_connection_once() {
    let (address, _thread) = peer(1, echo);
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let (flow, id, waker) = fake(&bench.io);
    flow.script.lock().refuse = true;
    bench.io.attach(id, conn);
    flow.send([b"a".to_vec(), b"b".to_vec()]);
    waker.wake_io();
    let (kind, message, tokens) = bench.wait_lost(conn);
    assert_eq!((kind, tokens), (LostKind::Protocol, vec![]));
    assert!(
        message.contains("Produce response: not a produce response"),
        "{message}"
    );
    flow.until(&mut bench, |script| !script.lost.is_empty());
    let script = flow.script.lock();
    assert_eq!(script.lost.len(), 1);
    assert_eq!(script.lost[0], (conn, LostCause { kind, message }));
    assert_eq!(script.answers.len(), 1);
}

#[test]
fn a_late_answer_to_a_flow_poisons() {
    let (address, _thread) = peer(1, |mut stream| while read_frame(&mut stream).is_some() {});
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let flow = Arc::new(Fake {
        script: Mutex::default(),
        inside: AtomicBool::new(false),
        deadline: Duration::from_millis(20),
        bell: bench.io.bell(),
    });
    let (id, _waker) = bench.io.register_flow(flow.clone());
    flow.send([b"x".to_vec()]);
    bench.io.attach(id, conn);
    assert_eq!(bench.wait_lost(conn).0, LostKind::RequestTimeout);
    flow.until(&mut bench, |script| script.lost.len() == 1);
}

#[test]
fn attaching_to_a_lost_connection_reports_its_cause() {
    let (address, _thread) = peer(1, drop);
    let mut bench = Bench::start();
    let conn = bench.io.connect(&peer::options(address));
    let (kind, message, _) = bench.wait_lost(conn);
    let (flow, id, _waker) = fake(&bench.io);
    bench.io.attach(id, conn);
    flow.until(&mut bench, |script| {
        script.lost
            == [(
                conn,
                LostCause {
                    kind,
                    message: message.clone(),
                },
            )]
    });
}

#[test]
fn an_unregistered_flow_is_not_called() {
    let (address, _thread) = peer(1, |mut stream| {
        let first = read_frame(&mut stream).unwrap();
        let second = read_frame(&mut stream).unwrap();
        stream
            .write_all(&answer_to(&first, b"for the flow"))
            .unwrap();
        stream
            .write_all(&answer_to(&second, b"for Python"))
            .unwrap();
        echo(stream);
    });
    let mut bench = Bench::start();
    let conn = bench.connect(address);
    let (flow, id, waker) = fake(&bench.io);
    bench.io.attach(id, conn);
    flow.send([b"x".to_vec()]);
    waker.wake_io();
    flow.until(&mut bench, |script| script.sent == 1);
    bench.io.unregister_flow(id);
    bench.io.request(conn, 2, request(b""), PATIENCE, true);
    assert_eq!(bench.response(2), b"for Python");
    assert!(flow.script.lock().answers.is_empty());
}
