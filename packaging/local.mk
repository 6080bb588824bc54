# packaging: what web servers include; copied as it is by tests/stack
nginxdir = $(pkgdatadir)/nginx
dist_nginx_DATA = \
	packaging/nginx/corscache.conf \
	packaging/nginx/corscache_cache.conf \
	packaging/nginx/corscache_errors.conf \
	packaging/nginx/corscache_fastcgi.conf \
	packaging/nginx/corscache_headers.conf \
	packaging/nginx/corscache_page.conf \
	packaging/nginx/corscache_params.conf \
	packaging/nginx/corscache_redirects.conf \
	packaging/nginx/corscache_server.conf \
	packaging/nginx/sample.conf
lighttpddir = $(pkgdatadir)/lighttpd
dist_lighttpd_DATA = \
	packaging/lighttpd/corscache.conf \
	packaging/lighttpd/corscache.lua \
	packaging/lighttpd/corscache_ask.conf \
	packaging/lighttpd/corscache_check.sh \
	packaging/lighttpd/corscache_page.conf \
	packaging/lighttpd/sample.conf

# README.md explains the files above. corscache.conf has every setting with its
# default: cachectl config --sample, which make update-docs writes.
dist_pkgdata_DATA = packaging/README.md packaging/corscache.conf

# systemd: units are made of their .in, with the paths of this build
units = packaging/systemd/corscache-syncd.service \
	packaging/systemd/corscache-responder.service \
	packaging/systemd/corscache-responder.socket
systemdsystemunit_DATA = $(units)
EXTRA_DIST += $(units:=.in) packaging/systemd/hardening.in
CLEANFILES += $(units)
$(units): %: %.in packaging/systemd/hardening.in Makefile
	$(AM_V_GEN)$(MKDIR_P) packaging/systemd && sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@web_group[@]|$(web_group)|g' \
		-e '/@hardening[@]/{r $(srcdir)/packaging/systemd/hardening.in' -e 'd;}' $(srcdir)/$@.in >$@.tmp && mv $@.tmp $@
sysusersdir = $(prefix)/lib/sysusers.d
dist_sysusers_DATA = packaging/sysusers.d/corscache.conf
tmpfilesdir = $(prefix)/lib/tmpfiles.d
dist_tmpfiles_DATA = packaging/tmpfiles.d/corscache.conf
dist_pkgdata_DATA += packaging/systemd/run-corscache.mount

# What watches: alert rules and a dashboard
prometheusdir = $(pkgdatadir)/prometheus
dist_prometheus_DATA = packaging/prometheus/corscache.rules.yml
grafanadir = $(pkgdatadir)/grafana
dist_grafana_DATA = packaging/grafana/corscache.json
# The Debian package; `make deb` leaves it in the build directory
EXTRA_DIST += packaging/build-deb packaging/debian/README.Debian packaging/debian/changelog packaging/debian/control \
	packaging/debian/corscache.lintian-overrides packaging/debian/prerm \
	packaging/debian/copyright packaging/debian/postrm packaging/debian/rules packaging/debian/source/format \
	packaging/debian/tests/control
.PHONY: deb
deb: dist
	$(srcdir)/packaging/build-deb $(distdir).tar.xz
EXTRA_DIST += tests/package/main_job.py tests/package/package_test.py tests/package/boot_test tests/package/boot_job \
	tests/package/overlay tests/distributions
