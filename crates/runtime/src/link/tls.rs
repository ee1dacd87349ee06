//! Decides who may talk to whom: mutual TLS 1.3 with raw ed25519 keys (RFC 7250).
//!
//! There are no certificates, names or authorities. A caller expects one exact key; whoever is called
//! accepts the keys on the member list, except its own. Sessions are never resumed and nothing is said
//! before both sides are known.
//!
//! # Invariants
//!
//! * T1 (both known): a handshake that ends well has proved the possession of a member's key on either side; one with
//!   a guest, over a protocol of its own, that of the host's key and of the guest's, whoever that is.
//! * T2 (fresh): every connection has keys of its own; there are no tickets and no early data.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, SignatureAlgorithm, SignatureScheme,
};
use whimbrel_wire::{NodeId, NodeKey, PublicKey};

use crate::link::members::Members;

/// The protocol both sides have to name. Its number changes when older nodes could not follow.
const PROTOCOL: &[u8] = b"whimbrel/1";

/// The protocol of guests, who are no members yet.
const GUEST_PROTOCOL: &[u8] = b"whimbrel-guest/1";

/// TLS wants a name for whom it calls. Keys are what is checked, so it is the same for all.
pub(in crate::link) const SERVER_NAME: &str = "whimbrel";

/// What stands before the 32 bytes of an ed25519 key in its ASN.1 form (RFC 8410).
const SPKI_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// This node's side of every handshake.
#[derive(Debug)]
pub(in crate::link) struct Credentials {
    provider: Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    own: PublicKey,
}

impl Credentials {
    pub(in crate::link) fn new(key: &NodeKey) -> Self {
        let own = key.public();
        let spki = [SPKI_HEAD.as_slice(), own.as_bytes()].concat();
        let signing = Ed25519Key { key: key.clone(), spki: spki.clone() };
        let certified = CertifiedKey::new(vec![CertificateDer::from(spki)], Arc::new(signing));
        Self { provider: Arc::new(provider()), certified: Arc::new(certified), own }
    }

    /// How this node answers calls.
    pub(in crate::link) fn answer(&self, members: &Members) -> Result<QuicServerConfig, Error> {
        self.answer_those(Some(members.clone()), PROTOCOL)
    }

    /// How this node answers guests: whoever proves any key is heard, and no frame is taken from it.
    pub(in crate::link) fn answer_guests(&self) -> Result<QuicServerConfig, Error> {
        self.answer_those(None, GUEST_PROTOCOL)
    }

    fn answer_those(
        &self,
        members: Option<Members>,
        protocol: &[u8],
    ) -> Result<QuicServerConfig, Error> {
        let verifier = AcceptMembers {
            members,
            own: self.own,
            algorithms: self.provider.signature_verification_algorithms,
        };
        let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.certified));
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![protocol.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        QuicServerConfig::try_from(config).map_err(|_| no_initial_suite())
    }

    /// How this node calls the one with the key `expected`, and nobody else.
    pub(in crate::link) fn call(&self, expected: PublicKey) -> Result<QuicClientConfig, Error> {
        QuicClientConfig::try_from(self.caller(expected)?).map_err(|_| no_initial_suite())
    }

    /// How a guest calls its host, and nobody else.
    pub(in crate::link) fn call_as_guest(
        &self,
        host: PublicKey,
    ) -> Result<QuicClientConfig, Error> {
        let mut config = self.caller(host)?;
        config.alpn_protocols = vec![GUEST_PROTOCOL.to_vec()];
        QuicClientConfig::try_from(config).map_err(|_| no_initial_suite())
    }

    pub(in crate::link) fn caller(&self, expected: PublicKey) -> Result<ClientConfig, Error> {
        let verifier =
            ExpectKey { expected, algorithms: self.provider.signature_verification_algorithms };
        let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.certified));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        Ok(config)
    }
}

/// The node at the other end of `connection`, if it is a member at this moment.
pub(in crate::link) fn authenticated(
    connection: &quinn::Connection,
    members: &Members,
) -> Option<(NodeId, PublicKey)> {
    let key = peer_key(connection)?;
    members.by_key(&key).map(|node| (node, key))
}

/// The key that the other end of `connection` has proved to have.
pub(in crate::link) fn peer_key(connection: &quinn::Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    public_key(identity.first()?)
}

/// Secrets of the endpoint that a node has again after a restart.
///
/// With them it can tell a peer that still talks to its former self that the connection is gone, so
/// the peer dials anew at once and not only when its patience ends. They are digests of a signature
/// that is made for nothing else and never leaves the node.
pub(in crate::link) struct ResetSecrets {
    pub(in crate::link) key: Arc<dyn HmacKey>,
    pub(in crate::link) connection_ids: u64,
}

impl ResetSecrets {
    pub(in crate::link) fn new(key: &NodeKey) -> Self {
        let root = key.sign(b"whimbrel link: secrets of the endpoint");
        let ids = blake3::derive_key("whimbrel link 1: connection ids", root.as_bytes());
        let mut connection_ids = [0; 8];
        connection_ids.copy_from_slice(&ids[..8]);
        let reset = blake3::derive_key("whimbrel link 1: stateless reset", root.as_bytes());
        Self { key: Arc::new(KeyedHash(reset)), connection_ids: u64::from_le_bytes(connection_ids) }
    }
}

struct KeyedHash([u8; blake3::KEY_LEN]);

impl HmacKey for KeyedHash {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature: [u8; blake3::OUT_LEN] = signature.try_into().map_err(|_| CryptoError)?;
        // Compared in constant time by the type.
        let same = blake3::keyed_hash(&self.0, data) == blake3::Hash::from_bytes(signature);
        if same { Ok(()) } else { Err(CryptoError) }
    }
}

/// Ring's ciphers with the cheapest first: all are far beyond reach, and a node calls both ways.
fn provider() -> CryptoProvider {
    use ring::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS13_AES_256_GCM_SHA384,
        ],
        ..ring::default_provider()
    }
}

fn no_initial_suite() -> Error {
    Error::General("no cipher suite for initial packets".into())
}

fn public_key(spki: &CertificateDer<'_>) -> Option<PublicKey> {
    let bytes = spki.as_ref().strip_prefix(&SPKI_HEAD)?;
    bytes.try_into().ok().map(PublicKey::from_bytes)
}

fn refused() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

fn verify_signature(
    message: &[u8],
    spki: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
}

const fn old_tls() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}

/// Accepts callers that are on the member list; for guests there is none.
#[derive(Debug)]
struct AcceptMembers {
    members: Option<Members>,
    own: PublicKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AcceptMembers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let key = public_key(end_entity).ok_or_else(refused)?;
        // Somebody else with this node's key is a copy of its secret or a loop: neither is a peer.
        let is_stranger =
            self.members.as_ref().is_some_and(|members| members.by_key(&key).is_none());
        if key == self.own || is_stranger {
            return Err(refused());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(old_tls())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts the one node that was called.
#[derive(Debug)]
struct ExpectKey {
    expected: PublicKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ExpectKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if public_key(end_entity) == Some(self.expected) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(refused())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(old_tls())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Lets TLS sign with the node's key without taking it out of its box.
#[derive(Clone, Debug)]
struct Ed25519Key {
    key: NodeKey,
    spki: Vec<u8>,
}

impl SigningKey for Ed25519Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Ed25519Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.key.sign(message).as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_asn1_form_and_from_nothing_else() {
        let key = NodeKey::from_seed(&[7; 32]).public();
        let spki = [SPKI_HEAD.as_slice(), key.as_bytes()].concat();
        assert_eq!(public_key(&CertificateDer::from(spki.clone())), Some(key));
        for end in 0..spki.len() {
            assert_eq!(public_key(&CertificateDer::from(spki[..end].to_vec())), None);
        }
        let longer = [spki.as_slice(), &[0]].concat();
        assert_eq!(public_key(&CertificateDer::from(longer)), None);
        let mut other_kind = spki;
        other_kind[8] ^= 1;
        assert_eq!(public_key(&CertificateDer::from(other_kind)), None);
    }

    #[test]
    fn reset_secrets_are_the_same_after_a_restart_and_differ_between_nodes() {
        let signed = |seed: u8| {
            let secrets = ResetSecrets::new(&NodeKey::from_seed(&[seed; 32]));
            let mut signature = [0; blake3::OUT_LEN];
            secrets.key.sign(b"id", &mut signature);
            assert!(secrets.key.verify(b"id", &signature).is_ok());
            assert!(secrets.key.verify(b"other", &signature).is_err());
            (secrets.connection_ids, signature)
        };
        assert_eq!(signed(1), signed(1));
        assert_ne!(signed(1), signed(2));
    }
}
