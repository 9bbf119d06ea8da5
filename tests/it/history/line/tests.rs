//! Made-up histories, in order and not: each rule finds what it is there for, and nothing else.

use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn wait(name: &str, key: &str, sent: u64, ended: u64, end: End) -> Wait {
    Wait {
        name: name.to_owned(),
        kind: "a".to_owned(),
        class: 0,
        key: key.to_owned(),
        sent: secs(sent),
        ended: secs(ended),
        end,
        came_back: false,
    }
}

/// A look that sees some wait and some sessions free.
fn look(at: u64, waiting: &[&str], free: &[&str]) -> Look {
    Look {
        asked: secs(at),
        answered: secs(at),
        waiting: waiting.iter().map(|name| (*name).to_owned()).collect(),
        free: free.iter().map(|name| ((*name).to_owned(), "a".to_owned())).collect(),
        ..Look::default()
    }
}

fn granted(at: u64) -> End {
    End::Granted(secs(at))
}

/// One waits from the beginning, the other from the third second.
fn two(one: (u64, End), other: (u64, End)) -> History {
    History {
        waits: vec![wait("one", "k", 0, one.0, one.1), wait("other", "k", 3, other.0, other.1)],
        looks: vec![look(1, &["one"], &[]), look(4, &["one", "other"], &[])],
        ..History::default()
    }
}

fn holding(at: u64) -> Holding {
    Holding { session: "s".to_owned(), name: "w".to_owned(), granted: secs(at) }
}

/// Sees that a history has faults of one sort.
fn caught(history: &History, sort: &str) {
    let faults = history.faults();
    assert!(!faults.is_empty() && faults.iter().all(|fault| fault.contains(sort)), "{faults:?}");
}

#[test]
fn those_who_are_served_in_order_are_in_order() {
    for end in [granted(20), End::Gone, End::Refused, End::CutOff] {
        let history = two((10, granted(10)), (20, end));
        assert_eq!(history.faults(), [""; 0]);
        assert_eq!(history.judged(), 1);
    }
}

#[test]
fn who_overtakes_is_caught() {
    for (ended, end) in [(20, granted(20)), (20, End::Gone), (20, End::Refused)] {
        caught(&two((ended, end), (10, granted(10))), "overtaken");
    }
}

#[test]
fn who_comes_to_a_place_that_was_left_overtakes_nobody() {
    assert_eq!(two((9, End::Gone), (10, granted(10))).faults(), [""; 0]);
    // It may have left some time before its caller heard of that.
    assert_eq!(two((12, End::Refused), (10, granted(10))).faults(), [""; 0]);
    assert_eq!(two((20, End::CutOff), (10, granted(10))).faults(), [""; 0]);
}

#[test]
fn another_class_key_or_kind_overtakes_nobody() {
    let changes: [fn(&mut Wait); 3] = [
        |other| other.class = 1,
        |other| other.key = "l".to_owned(),
        |other| other.kind = "b".to_owned(),
    ];
    for change in changes {
        let mut history = two((20, granted(20)), (10, granted(10)));
        change(&mut history.waits[1]);
        assert_eq!(history.faults(), [""; 0]);
    }
}

#[test]
fn who_was_not_seen_before_the_other_asked_is_not_known_to_be_first() {
    let mut history = two((20, granted(20)), (10, granted(10)));
    history.looks.remove(0);
    assert_eq!(history.faults(), [""; 0]);
    assert_eq!(history.judged(), 0);
}

#[test]
fn a_blow_excuses_what_happens_around_it() {
    for (blow, excused) in [((5, 6), true), ((16, 17), true), ((30, 31), false)] {
        let mut history = two((20, granted(20)), (10, granted(10)));
        history.blows.push((secs(blow.0), secs(blow.1)));
        assert_eq!(history.faults().is_empty(), excused, "{blow:?}");
    }
}

#[test]
fn who_came_back_to_its_place_overtakes_nobody_and_may_be_overtaken() {
    let mut history = two((20, granted(20)), (10, granted(10)));
    history.waits[0].came_back = true;
    assert_eq!(history.faults(), [""; 0]);
}

#[test]
fn a_key_that_is_served_twice_while_another_waits_is_caught() {
    let mut history = History {
        waits: vec![
            wait("g1", "greedy", 0, 10, granted(10)),
            wait("g2", "greedy", 0, 11, granted(11)),
            wait("m", "modest", 1, 12, granted(12)),
        ],
        looks: vec![look(2, &["g1", "g2", "m"], &[])],
        ..History::default()
    };
    caught(&history, "there waited");
    // It had its turn between, by a call that nobody saw in line, or that has hung up.
    for end in [granted(11), End::Gone] {
        history.waits.push(Wait { class: 1, ..wait("n", "modest", 3, 11, end) });
        assert_eq!(history.faults(), [""; 0]);
        history.waits.pop();
    }
    // In turn.
    history.waits[1].end = granted(12);
    history.waits[2].end = granted(11);
    assert_eq!(history.faults(), [""; 0]);
}

#[test]
fn a_ghost_is_caught_in_line_and_with_a_session() {
    for end in [End::Gone, End::Refused] {
        let mut history = History {
            waits: vec![wait("w", "k", 0, 10, end)],
            looks: vec![look(5, &["w"], &[]), look(14, &["w"], &[]), look(16, &[], &[])],
            ..History::default()
        };
        // Its answer may have crossed its going.
        history.looks[2].held.push(holding(10));
        assert_eq!(history.faults(), [""; 0]);
        history.looks[2].held.push(holding(16));
        caught(&history, "is lent to");
        history.looks[2].held.clear();
        history.looks[2].waiting.push("w".to_owned());
        caught(&history, "there waits");
        // Something broke when it went, or has just broken, or its broker could not tell.
        history.blows = vec![(secs(1), secs(6))];
        caught(&history, "there waits");
        history.blows = vec![(secs(1), secs(8))];
        assert_eq!(history.faults(), [""; 0]);
        history.blows.clear();
        history.kills = vec![secs(11)];
        assert_eq!(history.faults(), [""; 0]);
        history.kills = vec![secs(9)];
        caught(&history, "there waits");
        history.waits[0].end = granted(10);
        history.looks[2].waiting.clear();
        history.looks[2].held.push(holding(16));
        assert_eq!(history.faults(), [""; 0]);
    }
}

#[test]
fn who_waits_while_what_suits_is_free_is_caught() {
    let mut history = History {
        waits: vec![wait("w", "k", 0, 20, granted(20))],
        looks: (1..8).map(|at| look(at, &["w"], &["s"])).collect(),
        ..History::default()
    };
    caught(&history, "is free");
    // Another kind.
    history.waits[0].kind = "b".to_owned();
    assert_eq!(history.faults(), [""; 0]);
    history.waits[0].kind = "a".to_owned();
    // It was lent meanwhile, or another one was free.
    history.looks[3].free.clear();
    assert_eq!(history.faults(), [""; 0]);
    history.looks[3].free.push(("t".to_owned(), "a".to_owned()));
    assert_eq!(history.faults(), [""; 0]);
}

/// What was told of a session's method.
fn cool_down(told: u64, until: u64) -> CoolDown {
    let (session, scope) = ("s".to_owned(), "m".to_owned());
    CoolDown { session, scope, told: secs(told), until: secs(until) }
}

fn used(session: &str, scope: &str, at: u64) -> Use {
    Use { session: session.to_owned(), scope: scope.to_owned(), granted: secs(at) }
}

#[test]
fn what_is_lent_in_spite_of_a_cool_down_is_caught() {
    let mut history = History { promises: vec![cool_down(1, 10)], ..History::default() };
    // Another session, another method, before and after.
    history.uses =
        vec![used("t", "m", 5), used("s", "n", 5), used("s", "m", 0), used("s", "m", 10)];
    assert_eq!(history.faults(), [""; 0]);
    history.uses.push(used("s", "m", 9));
    history.blows.push((secs(0), secs(20)));
    caught(&history, "in spite of");
}

#[test]
fn a_cool_down_that_is_shown_shorter_or_not_at_all_is_caught() {
    let shows = |until: Option<u64>| {
        let cooling = until.into_iter().map(|until| cool_down(5, until)).collect();
        let looks = vec![Look { cooling, ..look(5, &[], &[]) }, look(11, &[], &[])];
        History { promises: vec![cool_down(1, 10)], looks, ..History::default() }
    };
    for until in [10, 12] {
        assert_eq!(shows(Some(until)).faults(), [""; 0]);
    }
    for until in [Some(9), None] {
        caught(&shows(until), "instead of");
    }
}
