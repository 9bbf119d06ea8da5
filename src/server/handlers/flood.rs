//! Cool-downs, as operators end them.

use super::AdminService;
use crate::{
    proto::v1,
    server::{
        call::Caller,
        convert::{self, ClearCoolDown},
        status::Fault,
    },
};

impl AdminService {
    pub(super) async fn cleared(
        &self,
        caller: Caller,
        request: v1::ClearCoolDownRequest,
    ) -> Result<v1::ClearCoolDownResponse, Fault> {
        let ClearCoolDown { pool, session, scope, on } =
            convert::clear_cool_down(&request, caller.key())?;
        caller.enter(&pool)?;
        let view = self.store.clear_cool_down(&pool, session.as_ref(), &scope, &on).await?;
        let session = view.map(|view| convert::session(&pool, &view, caller.audience()));
        Ok(v1::ClearCoolDownResponse { session })
    }
}
