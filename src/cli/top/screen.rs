//! The picture.

use std::time::Duration;

use pbjson_types::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Table, TableState},
};
use telegate::{
    clock,
    pool::verdict::method_key,
    proto::v1::{CoolDown, MethodFloods, PoolOverview, PoolState, Session, SessionState},
};

use super::state::{Mode, Pane, State};
use crate::cli::{flood, print, span, telegram_error};

/// How many rows of pools are shown at most; the list scrolls.
const POOL_ROWS: usize = 6;
const KEYS: &str = "←→↑↓ move  Tab pane  / filter  s state  p pause  r restore  x revoke  q quit";

/// Draws all of it.
pub(crate) fn draw(frame: &mut Frame, state: &mut State) {
    let pools = u16::try_from(state.seen.pools.len().clamp(1, POOL_ROWS)).unwrap_or(1) + 1;
    let [head, above, bar, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(pools),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(state), head);
    draw_pools(frame, above, state);
    frame.render_widget(panes(state), bar);
    match state.pane {
        Pane::Sessions => draw_sessions(frame, below, state),
        Pane::Leases => draw_leases(frame, below, state),
        Pane::Waiters => draw_waiters(frame, below, state),
        Pane::Floods => draw_floods(frame, below, state),
    }
    frame.render_widget(footer(state), foot);
}

fn title(state: &State) -> Paragraph<'static> {
    let age = clock::moment().saturating_duration_since(state.seen.at).as_secs();
    let age = if age > 2 { format!("  (seen {age}s ago)") } else { String::new() };
    let text = format!("telegate top  {}{age}", print::printable(&state.address));
    Paragraph::new(text).style(Style::new().add_modifier(Modifier::BOLD))
}

fn header<const N: usize>(names: [&'static str; N]) -> Row<'static> {
    Row::new(names).style(Style::new().add_modifier(Modifier::DIM))
}

fn chosen() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

fn draw_pools(frame: &mut Frame, area: Rect, state: &State) {
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(7),
    ];
    let names = [
        "POOL", "STATE", "TOTAL", "FREE", "LEASED", "REST", "FLOOD", "SUSP", "INV", "WAIT", "NEXT",
    ];
    let table = Table::new(state.seen.pools.iter().map(pool_row), widths)
        .header(header(names))
        .row_highlight_style(chosen());
    let mut place = TableState::default().with_selected(state.place());
    frame.render_stateful_widget(table, area, &mut place);
}

fn pool_row(pool: &PoolOverview) -> Row<'static> {
    let name = pool.pool.as_ref().map(|pool| pool.name.clone()).unwrap_or_default();
    let status = pool.status.clone().unwrap_or_default();
    let counts = status.counts.unwrap_or_default();
    let state = status.state();
    let next = match status.next_release_in.as_ref().map(span::of_wire) {
        None => "-".to_owned(),
        Some(after) if after.is_zero() => "now".to_owned(),
        Some(after) => whole(after),
    };
    let color = match state {
        PoolState::Ready => Color::Green,
        PoolState::Busy | PoolState::FloodWait => Color::Yellow,
        PoolState::Depleted => Color::Red,
        _ => Color::Reset,
    };
    let number = |count: u32| Cell::new(count.to_string());
    Row::new([
        Cell::new(print::printable(&name)),
        Cell::new(print::value(state.as_str_name(), "POOL_STATE_").to_owned())
            .style(Style::new().fg(color)),
        number(counts.total),
        number(counts.free),
        number(counts.leased),
        number(counts.resting),
        number(counts.flood_wait),
        number(counts.suspect),
        number(counts.invalid),
        number(status.waiters),
        Cell::new(next),
    ])
}

fn panes(state: &State) -> Line<'static> {
    let inside = state.inside();
    let mut spans = Vec::new();
    for pane in Pane::ALL {
        let count = match pane {
            Pane::Sessions => inside.map(|pool| pool.sessions.len().to_string()),
            Pane::Leases => inside.map(|pool| pool.leases.len().to_string()),
            Pane::Waiters => inside
                .map(|pool| pool.waiters.as_ref().map_or("-".to_owned(), |w| w.len().to_string())),
            Pane::Floods => state.overview().map(|pool| {
                let counts = pool.floods.iter().map(|floods| u64::from(floods.count));
                counts.sum::<u64>().to_string()
            }),
        };
        let text = format!(" {} {} ", pane.name(), count.unwrap_or_default());
        let style = if pane == state.pane { chosen() } else { Style::new() };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    if let Some(only) = state.only() {
        let name = print::value(only.as_str_name(), "SESSION_STATE_").to_owned();
        spans.push(Span::raw(format!(" only {name} ")));
    }
    if !state.filter.is_empty() {
        spans.push(Span::raw(format!(" with '{}' ", print::printable(&state.filter))));
    }
    if inside.is_some_and(|pool| pool.more) {
        spans.push(Span::raw(" (the first ones) "));
    }
    Line::from(spans)
}

fn draw_sessions(frame: &mut Frame, area: Rect, state: &mut State) {
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Fill(4),
        Constraint::Fill(3),
    ];
    let rows: Vec<_> = state.sessions().into_iter().map(|each| session_row(each, state)).collect();
    let table = Table::new(rows, widths)
        .header(header(["SESSION", "STATE", "FOR", "COOLS DOWN", "HOLDER"]))
        .row_highlight_style(chosen());
    frame.render_stateful_widget(table, area, &mut state.rows);
}

fn session_row(session: &Session, state: &State) -> Row<'static> {
    let color = match session.state() {
        SessionState::Ready => Color::Green,
        SessionState::FloodWait => Color::Yellow,
        SessionState::Suspect | SessionState::Invalid => Color::Red,
        _ => Color::Reset,
    };
    let name = print::value(session.state().as_str_name(), "SESSION_STATE_").to_owned();
    let mut cools: Vec<_> = session.cool_downs.iter().collect();
    cools.sort_by_key(|entry| entry.until.map(|at| (at.seconds, at.nanos)));
    let cools = cools.into_iter().map(|entry| {
        let scope = telegram_error::scope(entry.scope, &entry.subject);
        // The countdown and what ends first come first: a narrow screen cuts the rest off.
        format!("{} {scope}", left(state, entry.until.as_ref()))
    });
    let holder = session.holder.clone().unwrap_or_default();
    let why = session.invalidation.as_ref().map(|why| {
        let reason = why.reason().as_str_name();
        format!("{} {}", print::value(reason, "INVALID_REASON_"), why.detail)
    });
    let holder = why.unwrap_or_else(|| format!("{} {}", holder.key_id, holder.purpose));
    Row::new([
        Cell::new(print::printable(&session.name)),
        Cell::new(name).style(Style::new().fg(color)),
        Cell::new(left(state, session.state_until.as_ref())),
        Cell::new(print::printable(&cools.collect::<Vec<_>>().join(", "))),
        Cell::new(print::printable(holder.trim())),
    ])
}

fn draw_leases(frame: &mut Frame, area: Rect, state: &mut State) {
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(12),
        Constraint::Fill(3),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(15),
    ];
    let row = |lease: &telegate::proto::v1::Lease, state: &State| {
        let holder = lease.holder.clone().unwrap_or_default();
        Row::new([
            print::printable(&lease.session),
            print::printable(&holder.key_id),
            print::printable(&holder.purpose),
            left(state, lease.expire_time.as_ref()),
            left(state, lease.max_expire_time.as_ref()),
            lease.epoch.to_string(),
        ])
    };
    let rows: Vec<_> = state.leases().into_iter().map(|lease| row(lease, state)).collect();
    let table = Table::new(rows, widths)
        .header(header(["SESSION", "HOLDER", "PURPOSE", "REMAINS", "AT MOST", "EPOCH"]))
        .row_highlight_style(chosen());
    frame.render_stateful_widget(table, area, &mut state.rows);
}

fn draw_waiters(frame: &mut Frame, area: Rect, state: &mut State) {
    let Some(waiters) = state.inside().and_then(|pool| pool.waiters.as_ref()) else {
        frame.render_widget(Paragraph::new("-"), area);
        return;
    };
    let widths = [
        Constraint::Length(5),
        Constraint::Length(12),
        Constraint::Fill(2),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Fill(3),
    ];
    let span = |span: Option<&pbjson_types::Duration>| {
        span.map(span::of_wire).map(whole).unwrap_or_default()
    };
    let rows: Vec<_> = waiters
        .iter()
        .map(|waiter| {
            let holder = waiter.holder.clone().unwrap_or_default();
            let wants = format!("{} {}", waiter.session, waiter.selector);
            Row::new([
                waiter.position.to_string(),
                print::printable(&holder.key_id),
                print::printable(&holder.purpose),
                span(waiter.waited.as_ref()),
                span(waiter.remaining.as_ref()),
                print::printable(wants.trim()),
            ])
        })
        .collect();
    let table = Table::new(rows, widths)
        .header(header(["PLACE", "HOLDER", "PURPOSE", "WAITED", "REMAINS", "WANTS"]))
        .row_highlight_style(chosen());
    frame.render_stateful_widget(table, area, &mut state.rows);
}

fn draw_floods(frame: &mut Frame, area: Rect, state: &mut State) {
    let widths = [Constraint::Fill(1), Constraint::Length(12), Constraint::Length(12)];
    let brakes = state.overview().map(|pool| pool.brakes.as_slice()).unwrap_or_default();
    let rest_of = |method: &str| {
        let is_it = |brake: &&CoolDown| method_key(&brake.subject) == method_key(method);
        let brake = brakes.iter().find(is_it).filter(|_| !method.is_empty());
        brake.map(|brake| left(state, brake.until.as_ref())).unwrap_or_default()
    };
    let row = |floods: &MethodFloods| {
        let method = print::printable(flood::method(&floods.method));
        Row::new([method, floods.count.to_string(), rest_of(&floods.method)])
    };
    let rows: Vec<_> = state.floods().into_iter().map(row).collect();
    let table = Table::new(rows, widths)
        .header(header(["FLOODED METHOD", "LAST HOUR", "BRAKED FOR"]))
        .row_highlight_style(chosen());
    frame.render_stateful_widget(table, area, &mut state.rows);
}

fn footer(state: &State) -> Paragraph<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    match &state.mode {
        Mode::Ask(order) => Paragraph::new(format!("{} (y/n)", order.question())).style(bold),
        Mode::Filter => {
            let filter = print::printable(&state.filter);
            Paragraph::new(format!("filter: {filter}_   Enter keeps it, Esc drops it")).style(bold)
        }
        Mode::Look => match &state.told {
            Some(told) => Paragraph::new(print::printable(told)).style(bold),
            None => Paragraph::new(KEYS).style(Style::new().add_modifier(Modifier::DIM)),
        },
    }
}

/// How long it is until a moment of the store's clock, which goes on since it was read.
fn left(state: &State, until: Option<&Timestamp>) -> String {
    let (Some(until), Some(read)) = (until, state.inside().and_then(|pool| pool.read_at)) else {
        return String::new();
    };
    let millis = |at: &Timestamp| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000;
    let passed = clock::moment().saturating_duration_since(state.seen.at);
    let ahead = u64::try_from(millis(until) - millis(&read)).unwrap_or_default();
    whole(Duration::from_millis(ahead).saturating_sub(passed))
}

/// A span in whole seconds, rounded up, as a countdown shows it.
fn whole(span: Duration) -> String {
    let secs = span.as_millis().div_ceil(1000);
    span::show(Duration::from_secs(u64::try_from(secs).unwrap_or(u64::MAX)))
}
