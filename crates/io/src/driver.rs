//! The loop of the I/O thread: waits for sockets, wakes and time, and gives every connection its turn.
//!
//! A turn: commands, lateness, reading (answers go to their owners), flows that were woken or are due, then for every
//! connection with an event: ask its flow for requests and write. Work per connection and turn is bounded; a
//! connection with more work continues in the next turn, after all others. The thread sleeps without limit when nothing is due.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use ottla_core::bytes::compression::codec::Cost;
use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::ids::{ConnId, Micros};
use ottla_core::seam::{Flow, LostCause, LostKind};

use crate::clock;
use crate::connection::{Attached, Connection, Owner, lost_cause};
use crate::sealers::Sealers;
use crate::shared::{BeatId, Command, FlowId, FlowWaker, IoEvent, Shared, add};

pub(crate) const WAKE: Token = Token(usize::MAX);
const EVENTS: usize = 256;
const SCRATCH_BYTES: usize = 64 * 1024;

/// Maximum number of ended connections whose causes are remembered, for later commands about them.
const REMEMBERED: usize = 256;

struct Driven {
    machine: Arc<dyn Flow>,
    waker: Arc<FlowWaker>,
    conns: Vec<ConnId>,
    next_tick: Option<Micros>,
    due: bool,
}

struct Beat {
    conn: ConnId,
    frame: Vec<u8>,
    interval: Micros,
    timeout: Micros,
    error_offset: usize,
    next: Micros,
}

pub(crate) struct Driver {
    poll: Poll,
    shared: Arc<Shared>,
    conns: HashMap<ConnId, Connection>,
    flows: HashMap<FlowId, Driven>,
    beats: HashMap<BeatId, Beat>,
    /// Connections with work in the next turn, each once, in the order of their turns.
    busy: VecDeque<ConnId>,
    ended: VecDeque<(ConnId, LostCause)>,
    /// Earliest deadline of all connections; computed again when it has passed.
    next_late: Micros,
    scratch: Vec<u8>,
    sealers: Sealers,
    compressor: Compressor,
    /// Callers that wait for the end of this turn.
    turns: Vec<SyncSender<()>>,
    ending: bool,
}

impl Driver {
    pub fn new(poll: Poll, shared: Arc<Shared>) -> Self {
        Self {
            poll,
            shared,
            conns: HashMap::new(),
            flows: HashMap::new(),
            beats: HashMap::new(),
            busy: VecDeque::new(),
            ended: VecDeque::new(),
            next_late: Micros::MAX,
            scratch: vec![0; SCRATCH_BYTES],
            sealers: Sealers::new(),
            compressor: Compressor::default(),
            turns: Vec::new(),
            ending: false,
        }
    }

    /// Runs until shutdown; an error means that the system refuses to poll.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.ending {
            match self.poll.poll(&mut events, self.sleep()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) | Ok(()) => {}
            }
            add(&self.shared.counters.turns, 1);
            self.note_events(&events);
            self.turn(clock::now());
        }
        Ok(())
    }

    fn sleep(&self) -> Option<Duration> {
        if !self.busy.is_empty() || self.flows.values().any(|flow| flow.due) {
            return Some(Duration::ZERO);
        }
        let ticks = self.flows.values().filter_map(|flow| flow.next_tick);
        let beats = self.beats.values().map(|beat| beat.next);
        let next = ticks.chain(beats).chain([self.next_late]).min()?;
        if next == Micros::MAX {
            return None;
        }
        Some(Duration::from_micros(next.saturating_sub(clock::now())))
    }

    fn note_events(&mut self, events: &Events) {
        for event in events {
            let id = event.token().0 as ConnId;
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            conn.read_closed |= event.is_read_closed() || event.is_error();
            conn.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            conn.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
            mark_busy(&mut self.busy, id);
        }
    }

    fn turn(&mut self, now: Micros) {
        for command in self.shared.take_commands() {
            self.execute(command, now);
        }
        self.expire(now);
        self.beat(now);
        let turn: Vec<ConnId> = self.busy.drain(..).collect();
        for id in turn {
            self.read(id, now);
        }
        self.tick(now);
        let turn: Vec<ConnId> = self.busy.drain(..).collect();
        for id in turn {
            self.write(id, now);
        }
        self.seal();
        for done in self.turns.drain(..) {
            // A caller that has stopped waiting needs no answer.
            let _ = done.try_send(());
        }
    }

    /// Compresses ahead: one batch with a cheap codec per flow and turn, so that no socket waits for two of them; the sealers compress
    /// the others.
    fn seal(&mut self) {
        for driven in self.flows.values_mut() {
            let machine = &driven.machine;
            let mut next = None;
            if machine.seals_waiting(Cost::Low) > 0 {
                next = machine.next_seal(Cost::Low);
            }
            if machine.seals_waiting(Cost::High) > 0 && !self.sealers.offer(machine) {
                next = next.or_else(|| machine.next_seal(Cost::High));
            }
            if let Some(job) = next {
                machine.on_sealed(job.run(&mut self.compressor));
                driven.due = true;
            }
        }
    }

    fn execute(&mut self, command: Command, now: Micros) {
        match command {
            Command::Connect {
                conn,
                dial,
                deadline,
                timeout,
                frame_cap_bytes,
            } => {
                let made = Connection::dial(
                    conn,
                    &dial,
                    deadline,
                    timeout,
                    frame_cap_bytes,
                    &self.shared,
                );
                self.add_connection(conn, made);
                self.next_late = self.next_late.min(deadline);
            }
            Command::Request {
                conn,
                token,
                frame,
                deadline,
                expects_response,
            } => {
                self.request(
                    conn,
                    frame,
                    Owner::Control(token),
                    now,
                    deadline,
                    expects_response,
                );
            }
            Command::Beat {
                beat,
                conn,
                frame,
                interval,
                timeout,
                error_offset,
            } => {
                // For a connection that has ended, `Lost` was emitted already.
                if self.conns.contains_key(&conn) {
                    let next = now + interval;
                    let beats = Beat {
                        conn,
                        frame,
                        interval,
                        timeout,
                        error_offset,
                        next,
                    };
                    self.beats.insert(beat, beats);
                }
            }
            Command::BeatStop { beat } => {
                self.beats.remove(&beat);
            }
            Command::Close { conn } => {
                self.lose(
                    conn,
                    lost_cause(LostKind::Closed, "closed by this client".into()),
                    now,
                );
            }
            Command::Register {
                flow,
                machine,
                waker,
            } => {
                let driven = Driven {
                    machine,
                    waker,
                    conns: Vec::new(),
                    next_tick: None,
                    due: true,
                };
                self.flows.insert(flow, driven);
            }
            Command::Unregister { flow } => self.unregister(flow),
            Command::Attach { flow, conn } => self.attach(flow, conn, now),
            Command::Turn(done) => self.turns.push(done),
            Command::Shutdown => self.ending = true,
        }
    }

    fn add_connection(&mut self, id: ConnId, made: Result<Connection, LostCause>) {
        let registered = made.and_then(|mut conn| {
            let source = conn.transport.source();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(source, Token(id as usize), interest)
                .map_err(|error| {
                    lost_cause(
                        LostKind::Connect,
                        format!("cannot watch the socket: {error}"),
                    )
                })?;
            Ok(conn)
        });
        match registered {
            Ok(conn) => {
                self.conns.insert(id, conn);
                add(&self.shared.counters.connections, 1);
            }
            Err(cause) => self.remember(id, cause, Vec::new()),
        }
    }

    fn request(
        &mut self,
        id: ConnId,
        frame: Vec<u8>,
        owner: Owner,
        now: Micros,
        deadline: Micros,
        expects_response: bool,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else {
            if let Owner::Control(token) = owner {
                let cause = self.cause_of(id);
                self.shared.emit(IoEvent::Lost {
                    conn: id,
                    cause,
                    tokens: vec![token],
                });
            }
            return;
        };
        add(&self.shared.counters.requests, 1);
        match conn.request(frame, owner, now, deadline, expects_response) {
            Ok(()) => {
                self.next_late = self.next_late.min(deadline);
                mark_busy(&mut self.busy, id);
            }
            Err(cause) => self.lose(id, cause, now),
        }
    }

    fn attach(&mut self, flow: FlowId, id: ConnId, now: Micros) {
        let Some(driven) = self.flows.get_mut(&flow) else {
            return;
        };
        let machine = driven.machine.clone();
        match self.conns.get_mut(&id) {
            Some(conn) => {
                conn.flow = Some(Attached { id: flow, machine });
                driven.conns.push(id);
                driven.due = true;
            }
            None => machine.on_lost(id, &self.cause_of(id), now),
        }
    }

    fn unregister(&mut self, flow: FlowId) {
        let Some(driven) = self.flows.remove(&flow) else {
            return;
        };
        self.sealers.forget(&driven.machine);
        for id in driven.conns {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.flow = None;
            }
        }
    }

    fn expire(&mut self, now: Micros) {
        if now < self.next_late {
            return;
        }
        let shared = &self.shared;
        let late = self
            .conns
            .iter_mut()
            .filter_map(|(id, conn)| Some((*id, conn.expired(shared, now)?)));
        for (id, (cause, beat)) in late.collect::<Vec<_>>() {
            if let Some(beat) = beat {
                let cause = cause.clone();
                self.shared.emit(IoEvent::BeatMissed { beat, cause });
            }
            self.lose(id, cause, now);
        }
        let deadlines = self.conns.values().filter_map(Connection::next_deadline);
        self.next_late = deadlines.min().unwrap_or(Micros::MAX);
    }

    fn beat(&mut self, now: Micros) {
        let mut due = Vec::new();
        for (id, beat) in self.beats.iter_mut().filter(|(_, beat)| beat.next <= now) {
            beat.next = now + beat.interval;
            due.push((
                *id,
                beat.conn,
                beat.frame.clone(),
                now + beat.timeout,
                beat.error_offset,
            ));
        }
        for (id, conn, frame, deadline, error_offset) in due {
            // An unanswered beat has its own deadline; a second one behind it would show nothing more.
            if !self
                .conns
                .get(&conn)
                .is_some_and(|conn| conn.has_outstanding_beat(id))
            {
                self.request(
                    conn,
                    frame,
                    Owner::Beat(id, error_offset),
                    now,
                    deadline,
                    true,
                );
            }
        }
    }

    fn read(&mut self, id: ConnId, now: Micros) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let connected = match conn.connect(&self.shared) {
            Ok(connected) => connected,
            Err(cause) => return self.lose(id, cause, now),
        };
        if !connected {
            return;
        }
        match conn.read(&mut self.scratch, &self.shared, now) {
            Ok(progress) => {
                if progress.answered_flow
                    && let Some(flow) = &conn.flow
                    && let Some(driven) = self.flows.get_mut(&flow.id)
                {
                    driven.due = true;
                }
                mark_busy(&mut self.busy, id);
            }
            Err(cause) => self.lose(id, cause, now),
        }
    }

    fn tick(&mut self, now: Micros) {
        for driven in self.flows.values_mut() {
            let woken = driven.waker.take();
            let ticked = driven.next_tick.is_some_and(|next| next <= now);
            if woken || ticked || driven.due {
                driven.due = false;
                driven.next_tick = driven.machine.on_tick(now);
                for id in &driven.conns {
                    mark_busy(&mut self.busy, *id);
                }
            }
        }
    }

    fn write(&mut self, id: ConnId, now: Micros) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let written = conn
            .pump(&self.shared, now)
            .and_then(|()| conn.write(&self.shared, now));
        if let Some(deadline) = conn.next_deadline() {
            self.next_late = self.next_late.min(deadline);
        }
        match written {
            Ok(progress) if progress.more || conn.wants_turn() => mark_busy(&mut self.busy, id),
            Ok(_) => {}
            Err(cause) => self.lose(id, cause, now),
        }
    }

    /// Ends a connection: all its requests and its flow receive the same cause, once.
    fn lose(&mut self, id: ConnId, cause: LostCause, now: Micros) {
        let Some(mut conn) = self.conns.remove(&id) else {
            return;
        };
        // Dropping the connection closes the socket and ends its registration anyway; this does both at once.
        let _ = self.poll.registry().deregister(conn.transport.source());
        conn.transport.shutdown();
        add(&self.shared.counters.lost, 1);
        self.beats.retain(|_, beat| beat.conn != id);
        let tokens = conn.control_tokens();
        if let Some(flow) = conn.flow.take() {
            if let Some(driven) = self.flows.get_mut(&flow.id) {
                driven.conns.retain(|other| *other != id);
                driven.due = true;
            }
            flow.machine.on_lost(id, &cause, now);
        }
        self.remember(id, cause, tokens);
    }

    fn remember(&mut self, conn: ConnId, cause: LostCause, tokens: Vec<u64>) {
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((conn, cause.clone()));
        self.shared.emit(IoEvent::Lost {
            conn,
            cause,
            tokens,
        });
    }

    fn cause_of(&self, id: ConnId) -> LostCause {
        let known = self.ended.iter().find(|(conn, _)| *conn == id);
        known.map_or_else(
            || lost_cause(LostKind::Closed, format!("connection {id} ended long ago")),
            |(_, cause)| cause.clone(),
        )
    }

    /// Ends all connections with one cause; commands that arrive later are refused with it.
    pub fn end(&mut self, cause: &LostCause) {
        let now = clock::now();
        for id in self.conns.keys().copied().collect::<Vec<_>>() {
            self.lose(id, cause.clone(), now);
        }
        for command in self.shared.end() {
            match command {
                Command::Attach { flow, conn } => {
                    if let Some(driven) = self.flows.get(&flow) {
                        driven.machine.on_lost(conn, cause, now);
                    }
                }
                other => refuse(other, &self.shared, cause),
            }
        }
        self.flows.clear();
    }
}

/// Answers a command that arrived after the thread has ended.
pub(crate) fn refuse(command: Command, shared: &Shared, cause: &LostCause) {
    let (conn, tokens) = match command {
        Command::Connect { conn, .. } => (conn, Vec::new()),
        Command::Request { conn, token, .. } => (conn, vec![token]),
        Command::Attach { .. }
        | Command::Beat { .. }
        | Command::BeatStop { .. }
        | Command::Close { .. }
        | Command::Register { .. }
        | Command::Unregister { .. }
        | Command::Turn(_)
        | Command::Shutdown => return,
    };
    shared.emit(IoEvent::Lost {
        conn,
        cause: cause.clone(),
        tokens,
    });
}

fn mark_busy(busy: &mut VecDeque<ConnId>, id: ConnId) {
    if !busy.contains(&id) {
        busy.push_back(id);
    }
}
