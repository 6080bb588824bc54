# SPDX-License-Identifier: BSD-2-Clause
"""starlette_app.py SOCKET ORIGINS -- a tiny page with Starlette's CORSMiddleware, which knows the origins of a file; "none": without it."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

middleware = []
if sys.argv[2] != "none":
	with open(sys.argv[2]) as file:
		middleware = [Middleware(CORSMiddleware, allow_origins=file.read().split(), allow_methods=["GET", "PUT", "DELETE"],
		    allow_headers=["content-type", "x-token"], max_age=600)]


async def tiny(_):
	return PlainTextResponse("tiny\n")

app = Starlette(routes=[Route("/tiny.txt", tiny)], middleware=middleware)
uvicorn.run(app, uds=sys.argv[1], loop="uvloop", http="httptools", access_log=False, log_level="warning")
