//! TLS at the public address: the certificate that the settings name, followed while the gateway runs.

use mainstay::kernel::lifecycle::Module;
use mainstay::kernel::telemetry::Metrics;
use mainstay::kernel::tls::ServedCertificate;
use tokio_util::sync::CancellationToken;

use crate::config::EdgeTls;

/// The module, serving over TLS if there is a certificate.
///
/// # Errors
/// When the certificate cannot be used.
pub(crate) fn serve(
    module: Module,
    settings: &EdgeTls,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<Module> {
    let Some((certificate, key)) = settings.files()? else { return Ok(module) };
    let served = ServedCertificate::read(certificate, key)?;
    let module = module.tls(served.server_tls());
    metrics.certificate_not_after("edge", served.not_after());
    metrics.certificate_refused("edge", false);
    let metrics = metrics.clone();
    served.spawn_reload(shutdown, move |refused, not_after| {
        metrics.certificate_refused("edge", refused);
        metrics.certificate_not_after("edge", not_after);
    });
    Ok(module)
}
