//! Answers of the right shape and of wrong ones.

use super::*;

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn reply(fields: Vec<Value>) -> Result<Reply> {
    Reply::read(Value::Array(fields))
}

#[test]
fn an_answer_of_another_shape_is_a_broken_store() {
    let pool = PoolName::parse("demo").unwrap();
    let about = About::pool(&pool);
    for value in [Value::Nil, Value::Okay, Value::Int(1), Value::Array(vec![Value::Int(1)])] {
        assert!(matches!(Reply::read(value), Err(Error::Broken(_))));
    }
    for fields in [
        vec![bulk("granted")],
        vec![bulk("granted"), Value::Int(1), Value::Int(0), bulk("x"), bulk("y")],
        vec![bulk("pool_busy"), bulk("x")],
        vec![bulk("lease_lost"), bulk("Forgotten"), Value::Int(1), Value::Int(1)],
        vec![bulk("session_not_found")],
        vec![bulk("surprise")],
    ] {
        let said = reply(fields).unwrap().grant(about);
        assert!(matches!(said, Err(Error::Broken(_))), "{said:?}");
    }
}

#[test]
fn a_refusal_carries_its_facts() {
    let pool = PoolName::parse("demo").unwrap();
    let counts = Value::Array([6, 0, 1, 1, 1, 2, 1].map(Value::Int).to_vec());
    let queue = [7, 3200, -1].map(Value::Int);
    let busy = vec![bulk("pool_busy"), counts, Value::Int(250), bulk("rest")];
    let busy = [busy, queue.to_vec()].concat();
    let refused = reply(busy).unwrap().grant(About::pool(&pool)).unwrap_err();
    let Error::Refused(refusal) = refused else { panic!("{refused:?}") };
    let counts = PoolCounts {
        total: 6,
        free: 0,
        leased: 1,
        resting: 1,
        flood_wait: 1,
        suspect: 2,
        invalid: 1,
    };
    let next = NextRelease { after: Span(250), cause: ReleaseCause::Rest };
    let queue = Queue { waiters: 7, oldest_wait: Some(Span(3200)), pace: None };
    assert_eq!(*refusal, Refusal::PoolBusy { pool, counts, next, queue });
}
