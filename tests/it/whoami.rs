//! The example of the documents, run as a reader would.

use std::process::Command;

use mainstay_testing::{ADMIN_EMAIL, Platform};

#[tokio::test]
async fn whoami_logs_in_and_calls_identity_through_the_client_traits() {
    let platform = Platform::start().await;
    platform.admin().await;
    let user = platform.sign_up("ada@example.org").await;

    let whoami = |arguments: &[&str]| {
        let output = Command::new(mainstay_testing::binary("examples/whoami"))
            .env("MAINSTAY_HOME", platform.path())
            .envs(platform.registry_variables())
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(whoami(&[]).contains(ADMIN_EMAIL), "the administrator of admin.json");
    let said = whoami(&[&user.email, &user.password]);
    assert!(said.contains(&user.email) && said.contains(&user.id), "{said}");
}
