"""The environment variables that say where an OpenSearch or Elasticsearch cluster is, and let a client in."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from metroline.agents.gateways.opensearch.cluster import ClusterAccess
from metroline.routing.errors import UsageError


class UnusableAccess(UsageError):
    """Raised when an environment variable for the cluster is missing or cannot be used; it names the variable."""


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

    def opensearch_access(self, url: str | None = None) -> ClusterAccess:
        """Return the cluster at `url`, or else at `OPENSEARCH_URL`, and what lets this client in.

        Raise `UnusableAccess`.
        """
        urls = urls_in(url or self.opensearch_url)
        if not urls:
            raise UnusableAccess(
                "OPENSEARCH_URL is not set: it is the address of the cluster, such as https://search:9200"
            )
        password = _secret("OPENSEARCH_PASSWORD", self.opensearch_password, self.opensearch_password_file)
        api_key = _secret("OPENSEARCH_API_KEY", self.opensearch_api_key, self.opensearch_api_key_file)
        if api_key and self.opensearch_username:
            raise UnusableAccess("OPENSEARCH_API_KEY and OPENSEARCH_USERNAME are both set: set one of them")
        if password and not self.opensearch_username:
            raise UnusableAccess("OPENSEARCH_PASSWORD needs OPENSEARCH_USERNAME")
        return ClusterAccess(urls, self.opensearch_username, password, api_key, self._tls())

    def _tls(self) -> ssl.SSLContext | None:
        """Return how certificates are verified; None for the system's way. Raise `UnusableAccess`."""
        ca, certificate, key = self.opensearch_ca_file, self.opensearch_cert_file, self.opensearch_key_file
        if key is not None and certificate is None:
            raise UnusableAccess("OPENSEARCH_KEY_FILE needs OPENSEARCH_CERT_FILE, the certificate of the key")
        if ca is None and certificate is None:
            return None
        named = "OPENSEARCH_CA_FILE"
        try:
            context = ssl.create_default_context(cafile=ca)
            if certificate is not None:
                named = "OPENSEARCH_CERT_FILE"
                context.load_cert_chain(certificate, key, password=lambda: "")
        except OSError as error:  # OpenSSL's reason names no file
            reason = getattr(error, "reason", None) or error.strerror or error
            raise UnusableAccess(
                f"{named}: {ca if certificate is None else certificate} cannot be used ({reason})"
            ) from error
        return context


def urls_in(text: str) -> tuple[str, ...]:
    """Return the addresses in a text, separated by commas; raise `UnusableAccess` if one is none."""
    urls = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for url in urls:
        scheme, mark, host = url.partition("://")
        if "@" in host:
            raise UnusableAccess(
                "OPENSEARCH_URL: a user name or a password has no place in it: set OPENSEARCH_USERNAME and "
                "OPENSEARCH_PASSWORD"
            )
        if not mark or scheme not in ("http", "https") or not host:
            raise UnusableAccess("OPENSEARCH_URL: write http://host:port or https://host:port, several with commas")
    return urls


def _secret(name: str, value: str | None, file: Path | None) -> str | None:
    if value is not None or file is None:
        return value
    try:
        secret = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableAccess(f"{name}_FILE: there is no text file {file} that can be read") from error
    if not secret:
        raise UnusableAccess(f"{name}_FILE: {file} is empty")
    return secret
