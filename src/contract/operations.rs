//! operations: what the kernel offers operators on every service.

use super::client::client;

pub use crate::kernel::proto::operations as proto;
use proto::operations_service_client::OperationsServiceClient;

/// The mesh identity of operators.
pub use crate::kernel::policy::OPERATOR;

client! {
    /// What operators see of a service and do about it.
    OperationsClient, over gRPC GrpcOperationsClient(OperationsServiceClient) {
        /// Returns how many events wait to be published.
        get_outbox(GetOutboxRequest) -> proto::Outbox;
        /// Lists the consumers of the process that answers.
        list_consumers(ListConsumersRequest) -> proto::ListConsumersResponse;
        /// Lists dead letters, in the order in which they were parked.
        list_dead_letters(ListDeadLettersRequest) -> proto::ListDeadLettersResponse;
        /// Returns one dead letter, its payload redacted.
        get_dead_letter(GetDeadLetterRequest) -> proto::DeadLetter;
        /// Returns one dead letter as it is.
        reveal_dead_letter(GetDeadLetterRequest) -> proto::DeadLetter;
        /// Hands dead letters back to the consumers that gave them up.
        replay_dead_letters(ReplayDeadLettersRequest) -> proto::ChangeDeadLettersResponse;
        /// Decides against dead letters.
        discard_dead_letters(DiscardDeadLettersRequest) -> proto::ChangeDeadLettersResponse;
        /// Lists the topics of the contracts.
        list_topics(ListTopicsRequest) -> proto::ListTopicsResponse;
        /// Reads a topic, payloads redacted.
        read_events(ReadEventsRequest) -> proto::ReadEventsResponse;
        /// Reads a topic as it is.
        reveal_events(ReadEventsRequest) -> proto::ReadEventsResponse;
        /// Delivers retained events once more.
        replay_events(ReplayEventsRequest) -> proto::ReplayEventsResponse;
        /// Lists sagas that do not get on.
        list_stuck_sagas(ListStuckSagasRequest) -> proto::ListStuckSagasResponse;
        /// Makes a saga's step due at once.
        resume_saga(ResumeSagaRequest) -> proto::Saga;
        /// Turns a saga back.
        abort_saga(AbortSagaRequest) -> proto::Saga;
        /// Lists jobs that are not done.
        list_jobs(ListJobsRequest) -> proto::ListJobsResponse;
        /// Lists the latest runs of a job.
        list_job_runs(ListJobRunsRequest) -> proto::ListJobRunsResponse;
        /// Makes a job due at once.
        retry_job(RetryJobRequest) -> proto::RetryJobResponse;
        /// Forgets a job.
        discard_job(DiscardJobRequest) -> proto::DiscardJobResponse;
    }
}
