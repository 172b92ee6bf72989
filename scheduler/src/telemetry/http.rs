//! What is served over HTTP.
//!
//! | path | what |
//! |---|---|
//! | `/metrics` | Prometheus' text format |
//! | `/health` | `ok`, or 503 with why the scheduler does not do its work |

use weir_service::http::{Page, Pages};

use super::Telemetry;

impl Pages for Telemetry {
    async fn page(&self, path: &str) -> Page {
        match path {
            "/metrics" => match self.render() {
                Ok(body) => Page::metrics(body),
                Err(error) => {
                    tracing::error!(%error, "metrics cannot be written");
                    Page::broken("metrics cannot be written; see the log\n")
                }
            },
            "/health" => match self.health.fault() {
                None => Page::text("ok\n"),
                Some(fault) => Page::unavailable(fault),
            },
            _ => Page::not_found("there are /metrics and /health\n"),
        }
    }
}
