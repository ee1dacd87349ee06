//! Decides what each request needs of its caller, and which are written down: those that change something are, before
//! and after; those that only look are judged.

use std::path::PathBuf;
use std::sync::Arc;

use whimbrel_trust::{Act, BlockId};

use super::fault::{AdminFault, Code};
use super::office::{Office, key_of};
use super::server::Replies;
use super::words::{Ask, Birth, Done, HeldLine, Part, Payload};
use crate::config::MigrationOpts;
use crate::trust::{Caller, TrustError};

impl Office {
    pub(super) fn node_for(&self, caller: &Caller) -> Result<Done, AdminFault> {
        caller.may(&Act::observe(None))?;
        Ok(Done::Node(self.node_line(self.own_node())))
    }

    pub(super) async fn nodes_for(
        &self,
        caller: &Caller,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        caller.may(&Act::observe(None))?;
        for node in self.nodes() {
            replies.part(Part::Node(self.node_line(node))).await;
        }
        Ok(Done::Nothing)
    }

    pub(super) async fn daemons_for(
        &self,
        caller: &Caller,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        caller.may(&Act::observe(None))?;
        for status in self.runtime().daemons() {
            replies.part(Part::Daemon(self.daemon_line(&status))).await;
        }
        Ok(Done::Nothing)
    }

    pub(super) async fn revoke_for(caller: &Caller, block: &str) -> Result<Done, AdminFault> {
        caller.revoke(block_of(block)?).await?;
        Ok(Done::Nothing)
    }

    /// What has to do with the tokens that daemons hold.
    pub(super) async fn of_tokens(
        &self,
        ask: Ask,
        caller: &Caller,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        if let Ask::Give { daemon, token } = ask {
            let entity = self.daemon(&daemon)?;
            self.at_home(entity)?;
            caller.give_token(entity, token.token().map_err(TrustError::from)?).await?;
        } else if let Ask::Take { daemon, block } = ask {
            let entity = self.daemon(&daemon)?;
            self.at_home(entity)?;
            caller.take_token(entity, block_of(&block)?).await?;
        } else if let Ask::Held { daemon } = ask {
            let entity = self.daemon(&daemon)?;
            caller.may(&Act::observe(Some(entity)))?;
            self.at_home(entity)?;
            for (holder, block) in self.runtime().tokens_of(entity.origin_hash()).await? {
                let block = block.to_string();
                replies.part(Part::Token(HeldLine { holder, block })).await;
            }
        }
        Ok(Done::Nothing)
    }

    /// Whoever may send to a daemon may find it.
    pub(super) async fn find_for(&self, caller: &Caller, word: &str) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        caller.may_any(&[Act::deliver(entity), Act::observe(Some(entity))])?;
        self.find(entity).await
    }

    pub(super) async fn spawn_for(
        &self,
        caller: &Caller,
        kind: &str,
        birth: Birth,
        given: Option<Payload>,
        file: Option<PathBuf>,
    ) -> Result<Done, AdminFault> {
        let call = self.spawn(kind, birth, given, file);
        caller.administer(Act::admin(None), &format!("spawn {kind}"), call).await
    }

    pub(super) async fn fork_for(
        &self,
        caller: &Caller,
        word: &str,
        birth: Birth,
    ) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        let call = self.fork(entity, birth);
        caller.administer(Act::admin(Some(entity)), "fork", call).await
    }

    pub(super) async fn migrate_for(
        self: &Arc<Self>,
        caller: &Caller,
        word: &str,
        to: Option<&str>,
        options: MigrationOpts,
        watch: bool,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        caller.may(&Act::migrate(entity, None))?;
        let target = match to {
            Some(to) => self.node(to)?,
            None => self.choose(entity, replies).await?,
        };
        let call = self.migrate(entity, target, options, watch.then_some(replies));
        caller.administer(Act::migrate(entity, Some(target)), "migrate", call).await
    }

    pub(super) async fn cancel_for(&self, caller: &Caller, word: &str) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        let call = self.cancel(entity);
        caller.administer(Act::migrate(entity, None), "cancel a move", call).await
    }

    pub(super) async fn verify_for(&self, caller: &Caller, word: &str) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        caller.may(&Act::observe(Some(entity)))?;
        self.verify(entity).await
    }

    pub(super) async fn forks_for(
        &self,
        caller: &Caller,
        word: &str,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        caller.may(&Act::observe(Some(entity)))?;
        self.forks(entity, replies).await
    }

    pub(super) async fn export_for(
        &self,
        caller: &Caller,
        word: &str,
        file: PathBuf,
    ) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        let what = format!("export to {}", file.display());
        let call = self.export(entity, file);
        caller.administer(Act::admin(Some(entity)), &what, call).await
    }

    pub(super) async fn import_for(
        &self,
        caller: &Caller,
        file: PathBuf,
        kind: Option<String>,
        birth: Birth,
        revive: bool,
    ) -> Result<Done, AdminFault> {
        let verb = if revive { "bring back" } else { "import" };
        let what = format!("{verb} from {}", file.display());
        let call = self.import(file, kind, birth, revive);
        caller.administer(Act::admin(None), &what, call).await
    }

    pub(super) async fn stop_for(&self, caller: &Caller, word: &str) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        let call = self.stop(entity);
        caller.administer(Act::admin(Some(entity)), "stop", call).await
    }

    pub(super) async fn delete_for(&self, caller: &Caller, word: &str) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        let call = self.delete(entity);
        caller.administer(Act::admin(Some(entity)), "delete", call).await
    }

    pub(super) async fn reclaim_for(
        &self,
        caller: &Caller,
        word: &str,
    ) -> Result<Done, AdminFault> {
        let entity = self.daemon(word)?;
        let call = self.reclaim(entity);
        caller.administer(Act::admin(Some(entity)), "reclaim", call).await
    }

    /// The text of the invitation is a secret and is not written down.
    pub(super) async fn invite_for(
        &self,
        caller: &Caller,
        guest: Option<&str>,
        seconds: u64,
        succeeds: bool,
    ) -> Result<Done, AdminFault> {
        caller.may(&Act::admin(None))?;
        let guest = guest.map(key_of).transpose()?;
        let whom = guest.map_or_else(|| "whoever comes first".to_owned(), |key| key.to_string());
        let role = if succeeds { "as the successor of this node" } else { "as a member" };
        let what = format!("invite {whom} {role}");
        let call = async { self.invite(guest, seconds, succeeds) };
        caller.administer(Act::admin(None), &what, call).await
    }

    pub(super) async fn leave_for(
        &self,
        caller: &Caller,
        to: Option<&str>,
    ) -> Result<Done, AdminFault> {
        caller.may(&Act::admin(None))?;
        let to = to.map(|to| self.node(to)).transpose()?;
        let what = match to {
            Some(to) => format!("leave the mesh, daemons to {to}"),
            None => "leave the mesh".to_owned(),
        };
        caller.administer(Act::admin(None), &what, self.leave(to)).await
    }

    pub(super) async fn expel_for(&self, caller: &Caller, word: &str) -> Result<Done, AdminFault> {
        caller.may(&Act::admin(None))?;
        let node = self.node(word)?;
        let call = self.expel(node);
        caller.administer(Act::admin(None), &format!("expel {node}"), call).await
    }
}

fn block_of(text: &str) -> Result<BlockId, AdminFault> {
    BlockId::of(text).ok_or_else(|| {
        let next = "whimbrel token inspect prints the ids of a token's blocks";
        AdminFault::caller(Code::Malformed, "this is no id of a block", next)
    })
}
