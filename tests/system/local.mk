# tests/system: real servers, started and stopped by tests/stack
EXTRA_DIST += tests/stack tests/system/app.py tests/system/fcgi.py
