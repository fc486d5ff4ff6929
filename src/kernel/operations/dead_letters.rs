//! Dead letters: list, show, replay, discard.

use super::render::micros;
use super::{Operations, actor, proto};
use crate::kernel::error::Result;
use crate::kernel::events::dead_letter::{self, Filter, Letter, State};
use crate::kernel::page::{PageRequest, PageToken};

impl Operations {
    pub(super) async fn dead_letters(
        &self,
        request: proto::ListDeadLettersRequest,
    ) -> Result<proto::ListDeadLettersResponse> {
        let filter = filter(request.filter.unwrap_or_default());
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let (letters, next_page_token) = self.page(&filter, &page).await?;
        let dead_letters = letters.iter().map(|letter| self.renderer.listed(letter)).collect();
        Ok(proto::ListDeadLettersResponse { dead_letters, next_page_token })
    }

    pub(super) async fn dead_letter(&self, id: &str, reveal: bool) -> Result<proto::DeadLetter> {
        let letter = dead_letter::get(self.database()?, id).await?;
        Ok(self.renderer.shown(&letter, reveal))
    }

    pub(super) async fn replay_letters(
        &self,
        request: proto::ReplayDeadLettersRequest,
    ) -> Result<proto::ChangeDeadLettersResponse> {
        let mut filter = filter(request.filter.unwrap_or_default());
        filter.state.get_or_insert(State::Parked);
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let (letters, next_page_token) = self.page(&filter, &page).await?;
        let mut changed = 0;
        if !request.dry_run {
            let transaction = self.database()?.begin().await?;
            changed = dead_letter::replay(transaction.connection(), &letters, &actor()).await?;
            transaction.commit().await?;
            self.wake(&letters);
        }
        Ok(self.changed(&letters, changed, next_page_token))
    }

    pub(super) async fn discard_letters(
        &self,
        request: proto::DiscardDeadLettersRequest,
    ) -> Result<proto::ChangeDeadLettersResponse> {
        let mut filter = filter(request.filter.unwrap_or_default());
        filter.state = Some(State::Parked);
        let page = PageRequest::parse(request.page_size, &request.page_token)?;
        let (letters, next_page_token) = self.page(&filter, &page).await?;
        let mut changed = 0;
        if !request.dry_run {
            let (transaction, actor) = (self.database()?.begin().await?, actor());
            let connection = transaction.connection();
            changed = dead_letter::discard(connection, &letters, &actor, &request.reason).await?;
            transaction.commit().await?;
        }
        Ok(self.changed(&letters, changed, next_page_token))
    }

    /// Letters in the order of parking. A letter that is parked again keeps its place, so that whoever
    /// goes from page to page meets each once.
    async fn page(&self, filter: &Filter, page: &PageRequest) -> Result<(Vec<Letter>, String)> {
        let after = page.after.as_ref().map(|token| token.column(0)).transpose()?;
        let connection = self.database()?.connection();
        let rows = page.rows_to_read();
        let letters =
            dead_letter::find(connection, filter, after.unwrap_or_default(), rows).await?;
        Ok(page.cut(letters, |last| PageToken::new([last.position.to_string()])))
    }

    /// Wakes the consumers of this process; those of others look by themselves.
    fn wake(&self, letters: &[Letter]) {
        for status in self.consumers.all() {
            if letters.iter().any(|letter| letter.consumer == status.group()) {
                status.redelivery().notify_one();
            }
        }
    }

    fn changed(
        &self,
        letters: &[Letter],
        changed: usize,
        next_page_token: String,
    ) -> proto::ChangeDeadLettersResponse {
        proto::ChangeDeadLettersResponse {
            dead_letters: letters.iter().map(|letter| self.renderer.listed(letter)).collect(),
            changed: i32::try_from(changed).unwrap_or(i32::MAX),
            next_page_token,
        }
    }
}

fn filter(stated: proto::DeadLetterFilter) -> Filter {
    Filter {
        state: match stated.state() {
            proto::DeadLetterState::Unspecified => None,
            proto::DeadLetterState::Parked => Some(State::Parked),
            proto::DeadLetterState::Replaying => Some(State::Replaying),
            proto::DeadLetterState::Replayed => Some(State::Replayed),
            proto::DeadLetterState::Discarded => Some(State::Discarded),
        },
        id: stated.id,
        topic: stated.topic,
        r#type: stated.r#type,
        consumer: stated.consumer,
        subject: stated.subject,
        event_id: stated.event_id,
        code: stated.code,
        reason: stated.reason,
        parked_from: stated.start_time.map(micros),
        parked_until: stated.end_time.map(micros),
    }
}
