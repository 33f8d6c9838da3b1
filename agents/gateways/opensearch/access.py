"""The environment variables that say where an OpenSearch or Elasticsearch cluster is, and let a client in."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from metroline.agents.http.access import AccessSettings, HttpAccess


class OpenSearchSettings(BaseSettings):
    """The settings of the clusters of ends of the kind `opensearch`."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may be a password
    )

    opensearch_url: str = ""
    """Address of the OpenSearch or Elasticsearch cluster for [ends](opensearch.md) of the kind `opensearch`, such as
    `https://search:9200`. Of several nodes, separated by commas, each is asked until one answers."""
    opensearch_username: str | None = None
    """User name of the login at the cluster. Default: no login."""
    opensearch_password: str | None = Field(None, repr=False)
    """Password of the login at the cluster."""
    opensearch_password_file: Path | None = None
    """File with the password of the login at the cluster, in place of `OPENSEARCH_PASSWORD`."""
    opensearch_api_key: str | None = Field(None, repr=False)
    """API key for the cluster in its encoded form (`Authorization: ApiKey`), in place of user name and password."""
    opensearch_api_key_file: Path | None = None
    """File with the API key, in place of `OPENSEARCH_API_KEY`."""
    opensearch_ca_file: Path | None = None
    """PEM file with the certificates that the cluster's certificate is verified against. Default: the system's."""
    opensearch_cert_file: Path | None = None
    """PEM file with the certificate by which this client identifies itself to the cluster (mutual TLS), and with its
    private key unless `OPENSEARCH_KEY_FILE` has it. Default: none."""
    opensearch_key_file: Path | None = None
    """PEM file with the private key of that certificate, which is not encrypted. Default: `OPENSEARCH_CERT_FILE`."""

    def opensearch_access(self, url: str | None = None) -> HttpAccess:
        """Return the cluster at `url`, or else at `OPENSEARCH_URL`, and what lets this client in.

        Raise `UnusableAccess`.
        """
        return AccessSettings(
            "OPENSEARCH",
            url or self.opensearch_url,
            username=self.opensearch_username,
            password=self.opensearch_password,
            password_file=self.opensearch_password_file,
            api_key=self.opensearch_api_key,
            api_key_file=self.opensearch_api_key_file,
            ca_file=self.opensearch_ca_file,
            cert_file=self.opensearch_cert_file,
            key_file=self.opensearch_key_file,
        ).access()
