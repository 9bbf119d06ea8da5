//! `telegate keys live`.

use telegate::proto::v1::{ApiKey, KeyRole, ListKeysRequest, ListKeysResponse};

use crate::cli::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    status::PAGE,
};

pub(crate) async fn run(broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    let mut all = ListKeysResponse::default();
    let mut page_token = String::new();
    loop {
        let page = client.list_keys(ListKeysRequest { page_size: PAGE, page_token }).await?;
        all.keys.extend(page.keys);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    match output {
        Output::Json => print::json(&all),
        Output::Human => table(&all.keys),
    }
}

fn table(keys: &[ApiKey]) -> Result<(), Failure> {
    let or = |moment: String, none: &str| if moment.is_empty() { none.to_owned() } else { moment };
    print::table(
        &["ID", "NAME", "ROLES", "POOLS", "EXPIRES", "LAST USED"],
        keys.iter().map(|key| {
            let role = |role: KeyRole| print::value(role.as_str_name(), "KEY_ROLE_").to_lowercase();
            vec![
                key.id.clone(),
                key.name.clone(),
                key.roles().map(role).collect::<Vec<_>>().join(","),
                key.pools.join(","),
                or(print::moment(key.expire_time.as_ref()), "never"),
                or(print::moment(key.last_used_time.as_ref()), "not since the broker started"),
            ]
        }),
    )
}
