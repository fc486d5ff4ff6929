//! Registrations that do not complete at once: the saga behind them is resumed, waits, or turns back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth_svc::domain::REGISTRATION;
use mainstay::contract::auth::INVALID_CREDENTIALS;
use mainstay::contract::auth::proto::RegistrationWithdrawn;
use mainstay::contract::identity::IdentityClient as _;
use mainstay::contract::identity::proto::{GetMeRequest, UserDeleted};
use mainstay::kernel::Error;
use mainstay::kernel::database::Database;
use mainstay::kernel::error::{FAILED_PRECONDITION, PERMISSION_DENIED};
use mainstay::kernel::saga::{Progress, SagaState, Sagas};
use mainstay::kernel::settings::Transport;
use mainstay_testing::{FakeAuthz, as_user, eventually, within};

use crate::harness::{Auth, PASSWORD};

/// Longer than the lease of a job: so long waits an attempt that was under way when its process died.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process dies before the first step is done, or between the steps; what is away comes back only
/// then. No event helps: the stand-in for authz hears none.
#[tokio::test]
async fn a_registration_goes_on_after_a_crash() {
    for identity_is_away in [true, false] {
        let mut auth = Auth::start(Transport::Grpc).await;
        let identity = if identity_is_away { None } else { Some(auth.start_identity().await) };
        let ada = auth.register("ada@example.com").await.unwrap();
        stuck(&auth, if identity_is_away { "" } else { "bind-roles" }).await;
        auth.crash();

        let identity = match identity {
            Some(identity) => identity,
            None => auth.start_identity().await,
        };
        let bound = Arc::new(Mutex::new(Vec::new()));
        let binding = bound.clone();
        let _authz = FakeAuthz::start_binding(&auth.mesh, move |request| {
            binding.lock().unwrap().push(request);
            Ok(())
        })
        .await;
        auth.begin().await;
        ended(&auth, &ada.id, SagaState::Completed).await;
        let seen = as_user(&ada.id, auth.identity().get_me(GetMeRequest {})).await.unwrap();
        assert_eq!(seen, ada);
        {
            let bound = bound.lock().unwrap();
            assert!(!bound.is_empty());
            for request in bound.iter() {
                assert_eq!((&request.user_id, &request.role_names), (&ada.id, &member()));
            }
        }
        identity.drain().await;
    }
}

#[tokio::test]
async fn a_registration_that_authz_refuses_is_undone_in_reverse() {
    let auth = Auth::start(Transport::Grpc).await;
    let _identity = auth.start_identity().await;
    let refuses = Arc::new(AtomicBool::new(true));
    let refusing = refuses.clone();
    let _authz =
        FakeAuthz::start_binding(&auth.mesh, move |_| match refusing.load(Ordering::SeqCst) {
            true => Err(Error::new(FAILED_PRECONDITION, "no more members")),
            false => Ok(()),
        })
        .await;

    let ada = auth.register("ada@example.com").await.unwrap();
    let undone = ended(&auth, &ada.id, SagaState::Compensated).await;
    assert!(undone.reason.contains("step bind-roles was refused"), "{undone:?}");
    assert_eq!(undone.step, "open-account", "the first step is undone last");
    let me = as_user(&ada.id, auth.identity().get_me(GetMeRequest {})).await;
    assert_eq!(me.unwrap_err().code().http, 404);
    let error = auth.login("ada@example.com", PASSWORD).await.unwrap_err();
    assert!(error.is(&INVALID_CREDENTIALS), "{error}");
    eventually("both ends are told", async || {
        let deleted = auth.mesh.events::<UserDeleted>().await;
        let withdrawn = auth.mesh.events::<RegistrationWithdrawn>().await;
        (deleted.len() == 1 && withdrawn.len() == 1).then_some(())
    })
    .await;

    refuses.store(false, Ordering::SeqCst);
    let next = auth.register("ada@example.com").await.unwrap();
    assert_ne!(next.id, ada.id, "the address was free");
    ended(&auth, &next.id, SagaState::Completed).await;
    let seen = as_user(&next.id, auth.identity().get_me(GetMeRequest {})).await.unwrap();
    assert_eq!(seen, next);
}

/// A deployment that is half done says no: that closes nobody's account.
#[tokio::test]
async fn a_registration_that_is_stuck_is_listed_and_resumed() {
    let auth = Auth::start(Transport::Grpc).await;
    let _identity = auth.start_identity().await;
    let denies = Arc::new(AtomicBool::new(true));
    let denying = denies.clone();
    let _authz =
        FakeAuthz::start_binding(&auth.mesh, move |_| match denying.load(Ordering::SeqCst) {
            true => Err(Error::new(PERMISSION_DENIED, "auth may not bind yet")),
            false => Ok(()),
        })
        .await;

    let ada = auth.register("ada@example.com").await.unwrap();
    let listed = eventually("the saga is stuck where it is denied", async || {
        let listed = sagas(&auth).list_stuck(Duration::ZERO, 10).await.unwrap().pop()?;
        listed.last_error.contains("auth may not bind yet").then_some(listed)
    })
    .await;
    assert_eq!((listed.name.as_str(), listed.step.as_str()), (REGISTRATION, "bind-roles"));
    assert_eq!((&listed.id, listed.state), (&ada.id, SagaState::Running));
    auth.login("ada@example.com", PASSWORD).await.unwrap();

    denies.store(false, Ordering::SeqCst);
    match sagas(&auth).resume(REGISTRATION, &ada.id).await {
        // It was just being tried by itself, and is done.
        Err(error) if error.is(&FAILED_PRECONDITION) => {}
        resumed => resumed.unwrap(),
    }
    ended(&auth, &ada.id, SagaState::Completed).await;
    assert!(sagas(&auth).list_stuck(Duration::ZERO, 10).await.unwrap().is_empty());
}

fn member() -> Vec<String> {
    vec!["member".to_owned()]
}

/// Auth's sagas, as an operator sees them.
fn sagas(auth: &Auth) -> Sagas {
    let settings = auth.mesh.database_settings("auth-svc");
    Sagas::new(Database::open("auth-svc", &settings).unwrap())
}

/// Waits until a saga fails at this step.
async fn stuck(auth: &Auth, step: &str) -> Progress {
    let sagas = sagas(auth);
    eventually("the saga waits", async || {
        let listed = sagas.list_stuck(Duration::ZERO, 10).await.unwrap().pop()?;
        (listed.step == step).then_some(listed)
    })
    .await
}

async fn ended(auth: &Auth, id: &str, state: SagaState) -> Progress {
    let sagas = sagas(auth);
    within(PATIENCE, "the saga ends", async || {
        let progress = sagas.find(REGISTRATION, id).await.unwrap()?;
        (progress.state == state).then_some(progress)
    })
    .await
}
