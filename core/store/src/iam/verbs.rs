//! The store's verbs on accounts, and on who and what is in them.

use std::sync::Arc;

use gw_types::Authenticated;

use super::{IamRead, managed};
use crate::api::{
    AccessKeyInfo, AccountSettings, AssumeRole, Credential, IamChange, IamEntity, IamKind, IamListRequest,
    IamPage, IamSpec, IamSummary, Identity, KeyUse, NewCredential, TemporaryCredential, UserInfo, UserSpec,
};
use crate::error::StoreResult;
use crate::store::Store;

/// Accounts.
impl Store {
    /// Adds an account with one access key. Admins only.
    pub async fn user_add(&self, who: &Authenticated, spec: UserSpec) -> StoreResult<NewCredential> {
        self.core.user_add(who, spec).await
    }
    /// All accounts, by name. Admins only.
    pub async fn user_list(&self, who: &Authenticated) -> StoreResult<Vec<UserInfo>> {
        self.core.user_list(who)
    }
    /// Removes an account with its keys and all that is in it; its buckets stay, for admins. Admins
    /// only.
    pub async fn user_remove(&self, who: &Authenticated, name: &str) -> StoreResult<()> {
        self.core.user_remove(who, name).await
    }
    /// Sets an account's quota and the limits of its keys. What is over a new limit stays; only growth
    /// is refused. Admins only.
    pub async fn user_set(
        &self,
        who: &Authenticated,
        name: &str,
        settings: AccountSettings,
    ) -> StoreResult<()> {
        self.core.user_set(who, name, settings).await
    }
}

/// Credentials.
impl Store {
    /// The secret behind an access key, for verifying a signature. `None`: no such key, or it is
    /// switched off.
    pub async fn credential(&self, access_key: &str) -> StoreResult<Option<Arc<Credential>>> {
        self.core.credential(access_key).await
    }
    /// The same behind a temporary key, which says by its token what it is. `InvalidToken`,
    /// `ExpiredToken`.
    pub async fn session(&self, access_key: &str, token: &str) -> StoreResult<Arc<Credential>> {
        self.core.session_open(access_key, token).await
    }
    /// Notes that a key was used for a service, once its signature is verified. Cheap: most calls do
    /// nothing.
    pub fn access_key_used(&self, access_key: &str, service: &str, region: &str) -> StoreResult<()> {
        self.core.key_used(access_key, service, region)
    }
    /// Makes a key for a user, or for whoever asks.
    pub async fn access_key_create(
        &self,
        who: &Authenticated,
        of: Option<&str>,
    ) -> StoreResult<(NewCredential, AccessKeyInfo)> {
        self.core.access_key_create(who, of).await
    }
    /// Keys of a user, or of whoever asks, without their secrets.
    pub async fn access_keys(
        &self,
        who: &Authenticated,
        of: Option<&str>,
    ) -> StoreResult<Vec<AccessKeyInfo>> {
        self.core.access_keys(who, of)
    }
    /// Switches a key on or off.
    pub async fn access_key_set(
        &self,
        who: &Authenticated,
        key: (Option<&str>, &str),
        active: bool,
    ) -> StoreResult<()> {
        self.core.access_key_set(who, key, active).await
    }
    /// Removes a key.
    pub async fn access_key_delete(&self, who: &Authenticated, key: (Option<&str>, &str)) -> StoreResult<()> {
        self.core.access_key_delete(who, key).await
    }
    /// Whose a key is, and when it was last used.
    pub async fn access_key_last_used(
        &self,
        who: &Authenticated,
        access_key: &str,
    ) -> StoreResult<(String, Option<KeyUse>)> {
        self.core.access_key_last_used(who, access_key)
    }
    /// Temporary credentials of whoever asks, made with the long-lived key named. They end with it.
    pub async fn session_token(
        &self,
        who: &Authenticated,
        access_key: &str,
        seconds: Option<u32>,
    ) -> StoreResult<TemporaryCredential> {
        self.core.session_token(who, access_key, seconds).await
    }
    /// A session of a role.
    pub async fn session_assume(
        &self,
        who: &Authenticated,
        request: &AssumeRole,
    ) -> StoreResult<TemporaryCredential> {
        self.core.session_assume(who, request).await
    }
    /// Who a principal is. Everybody may ask it of itself.
    pub async fn identity(&self, who: &Authenticated) -> StoreResult<Identity> {
        self.core.identity(who)
    }
}

/// What is in an account: the caller's own, or for the operator the one it asks as.
impl Store {
    /// Makes a user, group, role or managed policy.
    pub async fn iam_create(&self, who: &Authenticated, spec: IamSpec) -> StoreResult<IamEntity> {
        self.core.iam_create(who, spec).await
    }
    /// One of them, whatever the case of its name.
    pub async fn iam_get(
        &self,
        who: &Authenticated,
        entity: (IamKind, &str),
        read: IamRead,
    ) -> StoreResult<IamEntity> {
        self.core.iam_get(who, entity, read)
    }
    /// All of one kind, in order of name.
    pub async fn iam_list(
        &self,
        who: &Authenticated,
        kind: IamKind,
        request: &IamListRequest,
    ) -> StoreResult<IamPage> {
        self.core.iam_list(who, kind, request)
    }
    /// Changes one, whole or not at all.
    pub async fn iam_change(
        &self,
        who: &Authenticated,
        entity: (IamKind, &str),
        change: &IamChange,
    ) -> StoreResult<IamEntity> {
        self.core.iam_change(who, entity, change).await
    }
    /// Removes one that nothing hangs on; else `DeleteConflict`.
    pub async fn iam_delete(&self, who: &Authenticated, entity: (IamKind, &str)) -> StoreResult<()> {
        self.core.iam_delete(who, entity).await
    }
    /// Users in a group, by name.
    pub async fn iam_members(&self, who: &Authenticated, group: &str) -> StoreResult<Vec<IamEntity>> {
        self.core.iam_members(who, group)
    }
    /// Users, groups and roles that a managed policy is attached to.
    pub async fn iam_attached_to(&self, who: &Authenticated, arn: &str) -> StoreResult<Vec<IamEntity>> {
        self.core.iam_attached_to(who, arn)
    }
    /// The text of a managed policy that counts, by ARN.
    pub async fn iam_policy_document(&self, who: &Authenticated, arn: &str) -> StoreResult<Option<String>> {
        self.core.iam_policy_document(who, arn)
    }
    /// ARNs of the managed policies that every account has.
    pub fn iam_everybodys_policies(&self) -> Vec<String> {
        managed::all_everybodys()
    }
    /// How much there is.
    pub async fn iam_summary(&self, who: &Authenticated) -> StoreResult<IamSummary> {
        self.core.iam_summary(who)
    }
}
