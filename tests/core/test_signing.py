"""The venues' published vectors, RFC 8032's, and what is told of a secret that is none."""

from base64 import b64decode
from urllib.parse import parse_qsl, unquote

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from marketdata.core.errors import BadInputError
from marketdata.core.signing import (
    Keys,
    kind_of,
    query_string,
    signed_query,
    signer,
    socket_payload,
    sorted_payload,
    stamped_payload,
)

SPOT_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SPOT = signer("NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")
USDM = signer("2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9")
BYBIT_KEY = "TESTKEY0000000000"
BYBIT = signer("TESTSECRET00000000000000000000000000")
ORDER = {
    "symbol": "LTCBTC", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": 1,
    "price": "0.1", "recvWindow": 5000, "timestamp": 1499827319559,
}  # fmt: skip
FUTURE = {
    "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": 1, "price": 9000,
    "timeInForce": "GTC", "recvWindow": 5000, "timestamp": 1591702613943,
}  # fmt: skip
# RFC 8032, 7.1: SECRET KEY, PUBLIC KEY, MESSAGE, SIGNATURE of tests 1 to 3.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def pem_of(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        (
            query_string(ORDER),
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
        (
            query_string({**ORDER, "symbol": "１２３４５６"}),
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
        ),
    ],
)
def test_a_spot_query_is_signed_as_the_venue_publishes(query, signature):
    assert signed_query(query, SPOT) == f"{query}&signature={signature}"


def test_values_are_encoded_before_they_are_signed():
    query = query_string({**ORDER, "symbol": "１２３４５６"})
    assert query.startswith(
        "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&"
    )
    assert query_string({"a b": "c&d=e/+~"}) == "a%20b=c%26d%3De%2F%2B~"


def test_query_and_body_are_signed_with_nothing_between_them():
    names = list(ORDER)
    query = query_string({name: ORDER[name] for name in names[:4]})
    body = query_string({name: ORDER[name] for name in names[4:]})
    signature = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
    assert signed_query(query, SPOT, body) == f"{query}&signature={signature}"


def test_a_question_over_the_socket_is_signed_in_alphabetical_order():
    params = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC",
        "quantity": "0.01000000", "price": "52000.00", "recvWindow": 100,
        "timestamp": 1645423376532, "apiKey": SPOT_KEY,
    }  # fmt: skip
    payload = sorted_payload(params)
    assert payload.startswith(f"apiKey={SPOT_KEY}&price=52000.00&quantity=".encode())
    assert SPOT(payload) == "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"


def test_a_futures_query_is_signed_as_the_venue_publishes():
    signature = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    assert signed_query(query_string(FUTURE), USDM).endswith(f"&signature={signature}")


def test_another_order_of_the_same_parameters_is_another_signature():
    other = {name: FUTURE[name] for name in ("symbol", "side", "type", "timeInForce")} | FUTURE
    assert USDM(query_string(other).encode()) == (
        "ec11dcc17e67e47f0d3c3f513dfe9062307e37619c5c82ebaa8fe0bdf3d59519"
    )


def test_a_futures_query_with_a_body_is_signed_as_it_should_be():
    query = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
    body = "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943"
    signature = "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4"
    assert signed_query(query, USDM, body) == f"{query}&signature={signature}"


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (
            "category=linear&symbol=BTCUSDT",
            "d7a58c70d7c0e89115522b203178810282d5d630b27f00b28bd0674c275dcc29",
        ),
        (
            '{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit",'
            '"qty":"0.001","price":"10000","timeInForce":"GTC"}',
            "bd5d0cb75e4551dfe7dc2a72a6915a526ff16dc83404c60dd261462e6aac85ad",
        ),
    ],
)
def test_time_key_window_and_payload_are_signed(payload, signature):
    assert BYBIT(stamped_payload(1700000000000, BYBIT_KEY, payload)) == signature


def test_a_login_to_a_socket_is_signed():
    signature = "a582dabd14142ca4cf95f0e1359d6c3129236ad52261e5f9a21592db39b346b2"
    assert socket_payload(1700000001000) == b"GET/realtime1700000001000"
    assert BYBIT(socket_payload(1700000001000)) == signature


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_ed25519_signs_as_rfc_8032_does(secret, public, message, signature):
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex() == public
    assert b64decode(signer(pem_of(key))(bytes.fromhex(message))).hex() == signature


def test_an_ed25519_query_is_proved_by_the_public_key():
    _, public, _, _ = RFC_8032[0]
    pem = pem_of(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_8032[0][0])))
    query, _, signature = signed_query(query_string(ORDER), signer(pem)).rpartition("&signature=")
    oracle = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    oracle.verify(b64decode(unquote(signature)), query.encode())
    with pytest.raises(InvalidSignature):
        oracle.verify(b64decode(unquote(signature)), query.replace("LTC", "BTC").encode())
    # Base64 has characters that mean something else in a query.
    assert not {"+", "/", "="} & set(signature)
    assert dict(parse_qsl(f"{query}&signature={signature}"))["signature"] == unquote(signature)


@pytest.mark.parametrize("newline", ["\\n", " ", "\r\n", "\n"])
def test_a_pem_may_be_folded_as_environments_fold_it(newline):
    pem = pem_of(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(RFC_8032[1][0])))
    sign = signer(pem.strip().replace("\n", newline))
    assert b64decode(sign(b"\x72")).hex() == RFC_8032[1][3]


def test_the_text_of_a_secret_tells_its_kind():
    assert kind_of("NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP") == "HMAC"
    assert kind_of(pem_of(Ed25519PrivateKey.generate())) == "Ed25519"
    assert Keys("k", "s").kind == "HMAC"


@pytest.fixture(scope="module")
def others():
    """Make keys that are none of ours."""
    ours, curve = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    large = rsa.generate_private_key(65537, 2048)
    public = ours.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    pem = pem_of(ours)
    return {
        "ECPrivateKey": pem_of(curve),
        "RSAPrivateKey": pem_of(large, PrivateFormat.TraditionalOpenSSL),
        "PUBLIC KEY that cannot be read": public.decode(),
        "cannot be read or is encrypted": pem_of(ours, encryption=BestAvailableEncryption(b"pw")),
        "seen a part of one": pem[:60],
        "PRIVATE KEY that cannot be read": pem.replace("MC4C", "MC4D"),
    }


@pytest.mark.parametrize("number", range(6))
def test_another_kind_of_key_is_refused_without_being_shown(others, number):
    words, secret = list(others.items())[number]
    with pytest.raises(BadInputError) as caught:
        signer(secret)
    told = f"{caught.value}{caught.value.__cause__}"
    assert words in told
    assert not [line for line in secret.splitlines()[1:-1] if line[:12] in told]


def test_no_secret_is_refused():
    with pytest.raises(BadInputError, match="a secret to sign with expected"):
        signer("")


def test_keys_do_not_show_themselves():
    assert repr(Keys("canary-key", "canary-secret")) == "Keys()"
