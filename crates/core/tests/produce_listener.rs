//! A listener receives outcomes in the order in which they were resolved, by whichever thread, and may call back in when woken.

mod support;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use ottla_core::failure::{Failure, Outcome};
use ottla_core::produce::completion::Completion;
use ottla_core::produce::message::Message;
use ottla_core::produce::shared::{Listener, ProduceShared};
use parking_lot::Mutex;
use support::{Counter, closed, settings};

/// Blocks in its first call until the test releases it.
struct Slow {
    received: Mutex<Vec<String>>,
    called: Mutex<Sender<()>>,
    go_on: Mutex<Option<Receiver<()>>>,
    shared: OnceLock<Weak<ProduceShared>>,
    used_when_woken: Mutex<Vec<usize>>,
}

impl Listener for Slow {
    fn resolved(&self, completions: Vec<Arc<Completion>>) {
        self.called.lock().send(()).unwrap();
        let go_on = self.go_on.lock().take();
        if let Some(go_on) = go_on {
            go_on.recv().unwrap();
        }
        let topics = completions.iter().map(|done| done.topic.to_string());
        self.received.lock().extend(topics);
    }

    fn wake(&self) {
        if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
            let used = shared.with(|flow| flow.acc.used_bytes());
            self.used_when_woken.lock().push(used);
        }
    }
}

fn send(shared: &ProduceShared, topic: &str) {
    let message = Message {
        partition: None,
        timestamp_ms: 0,
        key: None,
        value: Some(b"x"),
        headers: &[],
        extra: 0,
    };
    let index = shared.with(|flow| flow.acc.topic(topic));
    let sent = shared.append(index, &message, None, || 1, |_, _| {});
    assert!(sent.is_ok());
}

fn fail(shared: &ProduceShared, topic: &str) {
    shared.fail_topic(topic, Failure::given_up(closed(), Outcome::NotWritten));
}

#[test]
fn outcomes_arrive_in_the_order_of_their_resolution() {
    let (called, calls) = channel();
    let (release, go_on) = channel();
    let listener = Arc::new(Slow {
        received: Mutex::default(),
        called: Mutex::new(called),
        go_on: Mutex::new(Some(go_on)),
        shared: OnceLock::new(),
        used_when_woken: Mutex::default(),
    });
    let shared = Arc::new(ProduceShared::new(
        settings(),
        7,
        Arc::new(Counter::default()),
    ));
    shared.set_listener(listener.clone());
    assert!(listener.shared.set(Arc::downgrade(&shared)).is_ok());
    send(&shared, "first");
    send(&shared, "second");

    let spawn = |topic: &'static str| {
        let shared = shared.clone();
        thread::spawn(move || fail(&shared, topic))
    };
    let first = spawn("first");
    calls.recv().unwrap();
    let second = spawn("second");
    let early = calls.recv_timeout(Duration::from_millis(50));
    assert_eq!(early, Err(RecvTimeoutError::Timeout));
    release.send(()).unwrap();
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(*listener.received.lock(), ["first", "second"]);
    assert_eq!(listener.used_when_woken.lock().len(), 2);
}
