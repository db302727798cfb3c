"""REST before the account socket: which accounts there are, and one-time passwords for them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from marketdata.core.errors import BotCryptoError
from marketdata.simulator import spoil
from marketdata.simulator.deriv.accounts import ACCOUNTS, TOKENS, Account, Passwords
from marketdata.simulator.deriv.limits import DerivRules, RestLimits
from marketdata.simulator.faults import Faults

BEFORE = "/trading/v1/options"
BEARER = re.compile(r"Bearer ([\w\-.]{1,512})")
FAULTS = {
    "429": (429, "RateLimit", "Too many requests."),
    "418": (418, "RateLimit", "Too many requests."),
    "451": (451, "Restricted", "Not available in your country."),
    "500": (500, "InternalServerError", "An internal error occurred."),
    "503": (503, "ServiceUnavailable", "The service is not available."),
}


class RestError(BotCryptoError):
    """REST refuses: `{"errors":[{"status":401,"code":"Unauthorized","message":"…"}]}`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def answer(self, request: web.Request) -> web.Response:
        """Return the refusal as it is sent."""
        error = {"status": self.status, "code": self.code, "message": str(self)}
        return _json(request, {"errors": [error]}, self.status)


def unauthorized() -> RestError:
    """Return the refusal of who cannot be let in: no token, a wrong one, a spent password."""
    return RestError(401, "Unauthorized", "Authentication failed.")


class Rest:
    """The paths over HTTP."""

    def __init__(self, passwords: Passwords, faults: Faults, rules: DerivRules) -> None:
        self._passwords = passwords
        self._faults = faults
        self._limits = RestLimits(rules)

    def routes(self) -> list[web.RouteDef]:
        """Return the paths."""
        return [
            web.get("/v1/health", self._health),
            web.get(f"{BEFORE}/accounts", self._accounts),
            web.post(f"{BEFORE}/accounts/{{id}}/otp", self._otp),
        ]

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _accounts(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, None)

    async def _otp(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, request.match_info["id"])

    async def _answered(self, request: web.Request, id: str | None) -> web.StreamResponse:
        fault = self._faults.take_http()
        if html := spoil.page(fault):
            return html
        try:
            if fault in FAULTS:
                raise RestError(*FAULTS[fault])
            self._admit(request)
            answer = _json(
                request, {"data": _listed() if id is None else self._issued(request, id)}
            )
        except RestError as error:
            answer = error.answer(request)
        if answer.status in {418, 429}:
            answer.headers["Retry-After"] = f"{self._faults.value('retry_after'):g}"
        return await spoil.sent(fault, request, answer)

    def _admit(self, request: web.Request) -> None:
        bearer = BEARER.fullmatch(request.headers.get("Authorization", ""))
        token = bearer[1] if bearer else ""
        if not self._limits.allow(token):
            raise RestError(*FAULTS["429"])
        if token not in TOKENS:
            raise unauthorized()
        if not request.headers.get("Deriv-App-ID"):
            raise RestError(400, "FieldIsRequired", "Deriv-App-ID header is required.")

    def _issued(self, request: web.Request, id: str) -> dict[str, Any]:
        account: Account | None = ACCOUNTS.get(id)
        if account is None:
            raise RestError(404, "AccountNotFound", "Account not found.")
        password = self._passwords.issue(account)
        return {"url": f"ws://{request.host}{BEFORE}/ws/{account.kind}?otp={password}"}


def _listed() -> list[dict[str, Any]]:
    return [account.row() for account in ACCOUNTS.values()]


def _json(request: web.Request, told: dict[str, Any], status: int = 200) -> web.Response:
    endpoint = request.path.removeprefix(BEFORE)
    told = {**told, "meta": {"endpoint": endpoint, "method": request.method, "timing": 1}}
    body = msgspec.json.encode(told)
    return web.Response(body=body, status=status, content_type="application/json")
