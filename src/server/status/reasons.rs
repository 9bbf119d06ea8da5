//! The table of refusals and failures: code, retry, and words in each language.
//!
//! A word in braces is a key of the error's metadata, so that whatever changes in a message is
//! there for programs too. `docs/errors.md` is made from this table; see `manual.rs`.

use std::time::Duration;

use tonic::Code;

use crate::proto::v1::ErrorReason;

/// Whether waiting helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It does not.
    Futile,
    /// It does. The delay that the situation asks for is brought between these two, and then
    /// spread by up to a fifth.
    After {
        /// The shortest delay that is told.
        least: Duration,
        /// The longest: who waits for a lease comes back even when it is long, because it may be
        /// released before its end.
        most: Duration,
    },
}

/// One situation. Situations may share a reason.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The reason in the contract.
    pub reason: ErrorReason,
    /// The gRPC code.
    pub code: Code,
    /// The HTTP status of the same.
    pub http: u16,
    /// Whether waiting helps.
    pub retry: Retry,
    /// The message in English; ends with the next step.
    pub en: &'static str,
    /// The message in Russian.
    pub ru: &'static str,
    /// When it happens, for the manual.
    pub when: &'static str,
    /// What a program or a person does about it, for the manual.
    pub remedy: &'static str,
}

impl Entry {
    /// The reason's name, as in `ErrorInfo`: `POOL_BUSY`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.reason.as_str_name().trim_start_matches("ERROR_REASON_")
    }

    /// The gRPC code's name: `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn code_name(&self) -> String {
        super::code_name(self.code)
    }
}

const fn secs(least: u64, most: u64) -> Retry {
    Retry::After { least: Duration::from_secs(least), most: Duration::from_secs(most) }
}

macro_rules! table {
    ($(
        $name:ident: $reason:ident, $code:ident, $http:literal, $retry:expr,
        $en:literal,
        $ru:literal,
        $when:literal,
        $remedy:literal;
    )*) => {
        $(pub(super) static $name: Entry = Entry {
            reason: ErrorReason::$reason,
            code: Code::$code,
            http: $http,
            retry: $retry,
            en: $en,
            ru: $ru,
            when: $when,
            remedy: $remedy,
        };)*

        /// All situations.
        pub static ENTRIES: &[&Entry] = &[$(&$name),*];
    };
}

table! {
    KEY_MISSING: ApiKeyMissing, Unauthenticated, 401, Retry::Futile,
        "No API key was sent. Send one as {header} or as authorization: Bearer; make one with \
         `telegate keys new`.",
        "API-ключ не передан. Передайте его в {header} или в authorization: Bearer; создать ключ: \
         `telegate keys new`.",
        "The call carries no API key, and the broker was started with a key file.",
        "Send the key as `x-api-key: KEY` or as `authorization: Bearer KEY`.";
    KEY_INVALID: ApiKeyInvalid, PermissionDenied, 403, Retry::Futile,
        "The API key is not in the broker's key file, was revoked, or has expired. Check it, or \
         make a new one there with `telegate keys new --keys FILE`.",
        "API-ключа нет в файле ключей брокера, он отозван или истёк. Проверьте его или создайте \
         там новый: `telegate keys new --keys FILE`.",
        "The key is not in the broker's key file, was revoked, or has expired by the broker's \
         clock.",
        "Use a key that `telegate keys list` shows, or make one; a revoked or expired key never \
         comes back.";
    ROLE_MISSING: PermissionMissing, PermissionDenied, 403, Retry::Futile,
        "Key {key} lacks the role {role}. Use a key that has it, or make one in the broker's key \
         file with `telegate keys new --keys FILE`.",
        "У ключа {key} нет роли {role}. Возьмите ключ с этой ролью или создайте его в файле ключей \
         брокера: `telegate keys new --keys FILE`.",
        "The key is good, but the call needs a role that it does not have.",
        "Call with a key that has the role that the metadata names.";
    POOL_FORBIDDEN: PermissionMissing, PermissionDenied, 403, Retry::Futile,
        "Key {key} may not use pool {pool}. Use a key that may, or make one with \
         `telegate keys new`.",
        "Ключу {key} не разрешён пул {pool}. Возьмите ключ с доступом к нему или создайте его: \
         `telegate keys new`.",
        "The key may not use the pool that the request names, whether or not there is such a \
         pool.",
        "Call with a key whose pools include it.";
    NOT_HOLDER: PermissionMissing, PermissionDenied, 403, Retry::Futile,
        "Another key holds the lease of session {session} of pool {pool}. Use the key that \
         acquired it, or acquire a lease of your own.",
        "Аренда сессии {session} пула {pool} принадлежит другому ключу. Используйте ключ, которым \
         она получена, или возьмите свою.",
        "The lease was acquired with another key.",
        "Renew and release with the key that acquired.";
    INVALID_REQUEST: InvalidRequest, InvalidArgument, 400, Retry::Futile,
        "The request is malformed in: {fields}. The details say what each may be; mend them and \
         send it again.",
        "Запрос составлен неверно, поля: {fields}. В деталях сказано, каким может быть каждое; \
         исправьте и повторите.",
        "Fields of the request are out of form or out of range.",
        "Mend every field that `BadRequest` names; it names all of them at once.";
    UNREADABLE: InvalidRequest, InvalidArgument, 400, Retry::Futile,
        "The message cannot be read. Build the client from the contract of this version, and send \
         each method what it takes.",
        "Сообщение не читается. Соберите клиент по контракту этой версии и отправляйте каждому \
         методу то, что он принимает.",
        "The bytes of the request are not the message that the method takes.",
        "Build the client anew from the contract of the broker's version.";
    TOO_LARGE: InvalidRequest, InvalidArgument, 413, Retry::Futile,
        "The message is larger than {max_message} bytes. Send less at once, or raise \
         limits.max_message.",
        "Сообщение больше {max_message} байт. Отправляйте меньше за раз или увеличьте \
         limits.max_message.",
        "The request has more bytes than `limits.max_message` allows.",
        "Send less at once, or have the operator raise the limit.";
    POOL_BUSY: PoolBusy, ResourceExhausted, 503,
        Retry::After { least: Duration::from_millis(10), most: Duration::from_secs(60) },
        "No session of pool {pool} that would do is free; the next lease or rest ends in \
         {next_release_in}. Retry when RetryInfo says, or add sessions with `telegate import`.",
        "В пуле {pool} нет свободной подходящей сессии; ближайшая аренда или отдых кончается через \
         {next_release_in}. Повторите, когда скажет RetryInfo, или добавьте сессии: \
         `telegate import`.",
        "Sessions would do, but all of them are leased or rest; the soonest is free at a known \
         time.",
        "Wait as `RetryInfo` says and call again with the same `request_id`; add sessions if it \
         happens often.";
    POOL_FLOOD_WAIT: PoolFloodWait, ResourceExhausted, 503,
        Retry::After { least: Duration::from_millis(10), most: Duration::from_secs(300) },
        "No session of pool {pool} that would do is free, and the soonest cools down for another \
         {next_release_in}; `telegate flood list` shows for what. Wait that long and retry, or add \
         sessions with `telegate import`.",
        "В пуле {pool} нет свободной подходящей сессии, ближайшая остывает ещё {next_release_in}; \
         почему, покажет `telegate flood list`. Подождите и повторите или добавьте сессии: \
         `telegate import`.",
        "Nothing that would do is free, and what comes free soonest is a session that cools down \
         for Telegram: as a whole, or for a method, capability or peer that the call names; or a \
         method that it names is braked in the whole pool.",
        "Wait as `RetryInfo` says; more sessions help unless the method is braked, calling more \
         often does not.";
    POOL_DEPLETED: PoolDepleted, FailedPrecondition, 503, Retry::Futile,
        "No session of pool {pool} that would do is usable as it is: of {total}, {invalid} are \
         INVALID and {suspect} SUSPECT. Probe the SUSPECT ones with `telegate acquire --probe`, \
         restore some with `telegate restore`, or add some with `telegate import`.",
        "В пуле {pool} нет годной подходящей сессии: из {total} непригодны {invalid}, под \
         подозрением {suspect}. Проверьте подозреваемые: `telegate acquire --probe`, верните \
         сессии: `telegate restore` или добавьте: `telegate import`.",
        "Sessions would do, but all of them are INVALID or SUSPECT: time alone brings none back.",
        "Find out with `probe` whether the SUSPECT ones live, or tell a person: look with \
         `telegate session list`, then restore or import sessions.";
    NO_MATCHING_SESSION: NoMatchingSession, FailedPrecondition, 409, Retry::Futile,
        "No session of pool {pool}, which has {total}, can match the selector '{selector}'. Change \
         it, or add sessions with such labels.",
        "В пуле {pool} (сессий: {total}) ни одна не подходит под селектор '{selector}'. Измените \
         его или добавьте сессии с такими метками.",
        "No session of the pool has the labels that the selector asks for.",
        "Ask for labels that the pool has, or add sessions with them.";
    POOL_EMPTY: PoolEmpty, FailedPrecondition, 409, Retry::Futile,
        "Pool {pool} has no sessions. Add some with `telegate import`.",
        "В пуле {pool} нет сессий. Добавьте их: `telegate import`.",
        "The pool has no sessions at all.",
        "Add sessions with `telegate import`.";
    POOL_PAUSED: PoolPaused, FailedPrecondition, 409, Retry::Futile,
        "Pool {pool} is paused. Ask an operator to resume it.",
        "Пул {pool} приостановлен. Попросите оператора возобновить его.",
        "An operator paused the pool: living leases go on, new ones are not granted.",
        "Stop asking until `telegate pool resume`.";
    POOL_DRAINING: PoolDraining, FailedPrecondition, 409, Retry::Futile,
        "Pool {pool} is draining: leases are neither granted nor renewed. Release what you hold, \
         and ask an operator to resume it.",
        "Пул {pool} освобождается: аренды не выдаются и не продлеваются. Верните свои и попросите \
         оператора возобновить его.",
        "An operator drains the pool: nothing is granted and nothing renewed.",
        "Finish, release what you hold, and stop asking until `telegate pool resume`.";
    WAIT_QUEUE_FULL: WaitQueueFull, ResourceExhausted, 503, secs(1, 60),
        "{waiters} calls wait for pool {pool} already, and {max_waiters} may. Retry later, or \
         raise max_waiters.",
        "Пула {pool} уже ждут {waiters} вызовов из {max_waiters} возможных. Повторите позже или \
         увеличьте max_waiters.",
        "As many calls wait for the pool as its policy allows.",
        "Wait as `RetryInfo` says, or have the operator raise `max_waiters`.";
    RATE_LIMITED: RateLimited, ResourceExhausted, 429, secs(1, 60),
        "Key {key} calls more often than the {limit} times a second that it may. Slow down.",
        "Ключ {key} обращается чаще разрешённых {limit} раз в секунду. Обращайтесь реже.",
        "The key calls more often than it may. This version does not raise it yet.",
        "Call less often; `RetryInfo` tells when the next call may come.";
    QUOTA_EXCEEDED: QuotaExceeded, ResourceExhausted, 429, Retry::Futile,
        "Key {key} holds the {limit} leases that it may. Release some first.",
        "У ключа {key} уже {limit} аренд, больше нельзя. Сначала верните часть.",
        "The key holds as many leases as it may. This version does not raise it yet.",
        "Release a lease before you acquire the next.";
    TOO_MANY_STREAMS: QuotaExceeded, ResourceExhausted, 429, Retry::Futile,
        "{limit} streams are open, as many as this connection or this broker may have. Close one, \
         or name more leases on each.",
        "Открыто {limit} потоков, больше нельзя на этом соединении или на этом брокере. Закройте \
         один или называйте больше аренд в каждом.",
        "The connection, or the broker, has as many KeepAlive and WatchPool streams as it may.",
        "Keep all leases of a process on one stream, and watch each pool once.";
    LEASE_LOST: LeaseLost, Aborted, 409, Retry::Futile,
        "The lease of session {session} of pool {pool} ended at {lost_at}: {cause}. Disconnect the \
         session at once and acquire a new lease.",
        "Аренда сессии {session} пула {pool} закончилась {lost_at}: {cause}. Немедленно отключите \
         сессию и возьмите новую аренду.",
        "The lease ended before the call: it ran out, was revoked, its session was invalidated, \
         or a newer lease took its place; `cause` tells which.",
        "Disconnect the session at once, since another worker may have it, and acquire anew.";
    LEASE_REVOKED: LeaseLost, Aborted, 409, Retry::Futile,
        "An operator ended the lease of session {session} of pool {pool} at {lost_at} ({cause}): \
         {detail}. Disconnect the session at once.",
        "Оператор завершил аренду сессии {session} пула {pool} {lost_at} ({cause}): {detail}. \
         Немедленно отключите сессию.",
        "An operator ended the lease before the call, and said why.",
        "Disconnect the session at once, and heed `detail` before you acquire anew.";
    POOL_NOT_FOUND: PoolNotFound, NotFound, 404, Retry::Futile,
        "There is no pool {pool}. `telegate pool list` shows those that there are; make it with \
         `telegate pool create`.",
        "Пула {pool} нет. Существующие покажет `telegate pool list`; создать: \
         `telegate pool create`.",
        "There is no pool of that name.",
        "Mend the name, or make the pool.";
    SESSION_NOT_FOUND: SessionNotFound, NotFound, 404, Retry::Futile,
        "Pool {pool} has no session {session}. Check the name, or add it with `telegate import`.",
        "В пуле {pool} нет сессии {session}. Проверьте имя или добавьте её: `telegate import`.",
        "The pool has no session of that name.",
        "Mend the name, or add the session.";
    LEASE_NOT_FOUND: LeaseNotFound, NotFound, 404, Retry::Futile,
        "No such lease is known. Disconnect the session and acquire a new lease.",
        "Такая аренда неизвестна. Отключите сессию и возьмите новую аренду.",
        "The lease id names no lease that is remembered. The id is a secret and is not repeated.",
        "Disconnect the session if you use one, and acquire anew.";
    POOL_EXISTS: PoolAlreadyExists, AlreadyExists, 409, Retry::Futile,
        "There is a pool {pool} already. Use it, or choose another name.",
        "Пул {pool} уже есть. Используйте его или выберите другое имя.",
        "A pool of that name is there already.",
        "Use it as it is, or choose another name.";
    SESSION_EXISTS: SessionAlreadyExists, AlreadyExists, 409, Retry::Futile,
        "Pool {pool} has a session {session} already. Choose another name, or remove that one \
         first.",
        "В пуле {pool} уже есть сессия {session}. Выберите другое имя или сначала удалите её.",
        "The pool has a session of that name already.",
        "Choose another name, or remove that session first.";
    CREDENTIAL_EXISTS: CredentialAlreadyExists, AlreadyExists, 409, Retry::Futile,
        "The credential {fingerprint} is session {session} of pool {pool} already. Use that one, \
         or remove it first.",
        "Эти учётные данные {fingerprint} уже есть: сессия {session} пула {pool}. Используйте её \
         или сначала удалите.",
        "The same credential is held already, under this name or another; lending it under two \
         would be a double lease.",
        "Use the session that the metadata names, or remove it first.";
    CREDENTIAL_ELSEWHERE: CredentialAlreadyExists, AlreadyExists, 409, Retry::Futile,
        "The credential {fingerprint} is held in a pool that this key may not see. Ask an operator \
         who may.",
        "Учётные данные {fingerprint} есть в пуле, недоступном этому ключу. Обратитесь к \
         оператору, у которого есть доступ.",
        "The same credential is held in a pool that the key may not see.",
        "Ask an operator whose key may see all pools.";
    REQUEST_ID_REUSED: RequestIdReused, AlreadyExists, 409, Retry::Futile,
        "The request id {request_id} was used in pool {pool} with other parameters, and its lease \
         lives. Use a fresh id for a new ask, or repeat the first one unchanged.",
        "Идентификатор запроса {request_id} в пуле {pool} уже использован с другими параметрами, и \
         его аренда действует. Для нового запроса возьмите новый, или повторите прежний без \
         изменений.",
        "The `request_id` belongs to an Acquire with other parameters, whose lease still lives.",
        "Use a fresh id for each new ask, and the same id only to repeat the same ask.";
    INAPPROPRIATE_STATE: InappropriateState, FailedPrecondition, 409, Retry::Futile,
        "Session {session} of pool {pool} is {state}; this call needs one of {wanted}. See with \
         `telegate session show` what it is and until when.",
        "Сессия {session} пула {pool} в состоянии {state}, а для вызова нужно одно из: {wanted}. \
         Состояние и срок покажет `telegate session show`.",
        "The session is in a state in which the call makes no sense, such as restoring one that \
         is neither INVALID nor SUSPECT.",
        "Look at `state` and `wanted`. A LEASED session becomes free when its holder releases it \
         or `telegate invalidate` ends its lease; a RESTING one by itself, also when it was \
         invalidated while it was in use.";
    POOL_NOT_EMPTY: InappropriateState, FailedPrecondition, 409, Retry::Futile,
        "Pool {pool} has {total} sessions, and only an empty pool can be deleted. Remove them \
         first with `telegate session remove`.",
        "В пуле {pool} сессий: {total}, а удалить можно только пустой пул. Сначала удалите их: \
         `telegate session remove`.",
        "The pool that is to be deleted has sessions.",
        "Remove its sessions first; a drained pool lets go of them one by one.";
    STORE_UNAVAILABLE: StoreUnavailable, Unavailable, 503, secs(1, 5),
        "The store cannot be reached, or did not answer in time. Retry; if it lasts, look at the \
         store and at the broker's log.",
        "Хранилище недоступно или не ответило вовремя. Повторите; если не проходит, проверьте \
         хранилище и журнал брокера.",
        "The store cannot be reached or did not answer within `limits.call_timeout`. Nothing was \
         granted.",
        "Wait as `RetryInfo` says and call again, an Acquire with the same `request_id`.";
    STORE_RECOVERING: StoreRecovering, Unavailable, 503, secs(2, 10),
        "The store has come back and does not grant yet. Retry in a moment.",
        "Хранилище восстанавливается и пока не выдаёт аренды. Повторите чуть позже.",
        "The store has come back, but leases that it acknowledged may be missing from it and \
         have to run out first. Nothing was granted.",
        "Wait as `RetryInfo` says and call again.";
    STORE_KEY_MISSING: StoreKeyMissing, FailedPrecondition, 409, Retry::Futile,
        "The broker has no store key to encrypt credentials with, so it takes none in. Make one \
         with `telegate keys new-store --store-key-file FILE`, and start the broker with \
         --store-key-file FILE.",
        "У брокера нет ключа хранилища для шифрования учётных данных, поэтому он их не принимает. \
         Создайте ключ: `telegate keys new-store --store-key-file FILE` и запустите брокер с \
         --store-key-file FILE.",
        "The broker was started without a store key, and credentials are never kept in plain text \
         unless that was asked for.",
        "Give the broker a store key; for a trial on one machine `serve --keep-unencrypted` does \
         without.";
    SHUTTING_DOWN: ShuttingDown, Unavailable, 503, secs(1, 5),
        "This broker is shutting down. Retry; another replica, or this one once it is back, will \
         serve.",
        "Этот брокер завершает работу. Повторите: ответит другая реплика или он сам после запуска.",
        "The broker was asked to end and takes no new calls.",
        "Call another replica, or this one again after `RetryInfo`.";
    NOT_IMPLEMENTED: NotImplemented, Unimplemented, 501, Retry::Futile,
        "{what} is part of the contract, but not yet of this version. Do without it, or use a \
         later version of the broker.",
        "{what} есть в контракте, но ещё не в этой версии. Обойдитесь без этого или обновите \
         брокер.",
        "The call or the field is in the contract, but this version cannot do it yet.",
        "Do without it, or use a later version of the broker.";
    UNKNOWN_METHOD: NotImplemented, Unimplemented, 501, Retry::Futile,
        "There is no method {what} here. Check the name; grpcurl's `list` shows what there is.",
        "Метода {what} здесь нет. Проверьте имя; `list` в grpcurl покажет доступное.",
        "There is no service or no method of that name.",
        "Mend the name; `grpcurl HOST:PORT list` shows what there is.";
    INTERNAL: Internal, Internal, 500, Retry::Futile,
        "The broker has a bug. Its operator finds the cause in the log under the request id.",
        "Ошибка в брокере. Оператор найдёт причину в журнале по идентификатору запроса.",
        "The broker has a bug, or its store holds what cannot be read. The cause is in its log, \
         never in the answer.",
        "Report the request id to the operator, who finds the cause under it.";
}
