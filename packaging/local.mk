# packaging: what web servers include; copied as it is by tests/stack
nginxdir = $(pkgdatadir)/nginx
dist_nginx_DATA = \
	packaging/nginx/corscache.conf \
	packaging/nginx/corscache_errors.conf \
	packaging/nginx/corscache_headers.conf \
	packaging/nginx/corscache_params.conf \
	packaging/nginx/corscache_server.conf \
	packaging/nginx/sample.conf
lighttpddir = $(pkgdatadir)/lighttpd
dist_lighttpd_DATA = \
	packaging/lighttpd/corscache.conf \
	packaging/lighttpd/corscache.lua \
	packaging/lighttpd/sample.conf

# README.md explains the files above. corscache.conf has every setting with its
# default: cachectl config --sample, which a test compares.
dist_pkgdata_DATA = packaging/README.md packaging/corscache.conf
