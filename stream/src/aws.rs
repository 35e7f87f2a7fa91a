//! How AWS is reached, by whoever reads or writes there.
//!
//! Nothing here reads the environment, but the AWS SDK does: its default chain finds credentials and,
//! unless it is set here, the region.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};

/// How AWS is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsConfig {
    /// Such as `eu-central-1`; the SDK's own (AWS_REGION, profile, instance) unless set.
    pub region: Option<String>,
    /// Where Kinesis is, if not where its region says.
    pub kinesis_endpoint: Option<String>,
    /// Where DynamoDB is, if not where its region says.
    pub dynamodb_endpoint: Option<String>,
}

impl AwsConfig {
    /// What is wrong with these values, each with the key it concerns.
    pub fn errors(&self) -> Vec<(&'static str, String)> {
        let endpoints =
            [("kinesis_endpoint", &self.kinesis_endpoint), ("dynamodb_endpoint", &self.dynamodb_endpoint)];
        let is_wrong =
            |endpoint: &&String| !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme));
        let wrong = |(key, endpoint): (&'static str, &Option<String>)| {
            let endpoint = endpoint.as_ref().filter(is_wrong)?;
            Some((key, format!("{endpoint:?} is no http:// or https:// address")))
        };
        endpoints.into_iter().filter_map(wrong).collect()
    }
}

/// The SDK's configuration for all services: one attempt a request, since the caller alone decides
/// what goes again and when. `attempt_timeout` is the longest wait for an answer, `connect_timeout`
/// for a connection. Connects to no service, but asks the instance for its region if nothing else
/// says it.
pub async fn sdk_config(aws: &AwsConfig, connect_timeout: Duration, attempt_timeout: Duration) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(connect_timeout)
        .operation_attempt_timeout(attempt_timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        // The time limit of a request covers this too.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts);
    if let Some(region) = &aws.region {
        loader = loader.region(Region::new(region.clone()));
    }
    loader.load().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_with_its_scheme() {
        let config = AwsConfig {
            region: None,
            kinesis_endpoint: Some("localhost:4568".to_owned()),
            dynamodb_endpoint: Some("ftp://localhost".to_owned()),
        };
        let keys: Vec<_> = config.errors().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["kinesis_endpoint", "dynamodb_endpoint"]);
        let right =
            AwsConfig { kinesis_endpoint: Some("https://localhost".to_owned()), ..AwsConfig::default() };
        assert_eq!(right.errors(), []);
    }
}
