package main

import "strings"

func nginx(location string) func(*site, string) (env, command []string) {
	return func(s *site, listen string) (env, command []string) {
		name := "nginx-" + strings.ReplaceAll(listen, ":", "-")
		content := strings.NewReplacer("$DIR", s.dir, "$NAME", name, "$LISTEN", listen, "$UPSTREAM", s.upstream, "$SERVICE", s.service, "$LOCATION", location).Replace(nginxConfig)
		return nil, []string{"nginx", "-c", s.write(name+".conf", content), "-e", "stderr"}
	}
}

func haproxy(s *site, listen string) (env, command []string) {
	content := strings.NewReplacer("$DIR", s.dir, "$LISTEN", listen, "$UPSTREAM", s.upstream).Replace(haproxyConfig)
	return nil, []string{"haproxy", "-f", s.write("haproxy.cfg", content), "-db"}
}

const nginxConfig = `daemon off;
load_module modules/ndk_http_module.so;
load_module modules/ngx_http_lua_module.so;
worker_processes 1;
pid $DIR/$NAME.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path $DIR/$NAME-body;
	proxy_temp_path $DIR/$NAME-proxy;
	lua_package_path "/usr/share/lua/5.1/?.lua;;";
	lua_shared_dict keys 16m;
	init_by_lua_block {
		for line in io.lines("$DIR/lua.keys") do
			local token, workspace = line:match("(%S+) (%S+)")
			ngx.shared.keys:set(token, workspace)
		end
	}
	upstream api { server $UPSTREAM; keepalive 128; keepalive_requests 1000000000; }
	upstream service { server $SERVICE; keepalive 128; keepalive_requests 1000000000; }
	server {
		listen $LISTEN;
		$LOCATION
	}
}
`

const authRequest = `location / {
			auth_request /check;
			auth_request_set $workspace $upstream_http_x_workspace_id;
			proxy_set_header X-Workspace-ID $workspace;
			proxy_set_header Authorization "";
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_pass http://api;
		}
		location = /check {
			internal;
			proxy_pass http://service/;
			proxy_pass_request_body off;
			proxy_set_header Content-Length "";
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}`

const inLua = `location / {
			set $workspace "";
			access_by_lua_block {
				local header = ngx.var.http_authorization or ""
				local workspace = ngx.shared.keys:get(header:sub(8))
				if header:sub(1, 7) ~= "Bearer " or not workspace then
					return ngx.exit(401)
				end
				ngx.var.workspace = workspace
			}
			proxy_set_header X-Workspace-ID $workspace;
			proxy_set_header Authorization "";
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_pass http://api;
		}`

const haproxyConfig = `global
	nbthread 1
	maxconn 2000
defaults
	mode http
	timeout client 30s
	timeout server 30s
	timeout connect 5s
	option http-keep-alive
	http-reuse always
frontend public
	bind $LISTEN
	http-request set-var(req.token) http_auth_bearer
	http-request set-var(req.workspace) var(req.token),map($DIR/haproxy.map)
	http-request return status 401 unless { var(req.workspace) -m found }
	http-request set-header X-Workspace-ID %[var(req.workspace)]
	http-request del-header Authorization
	default_backend api
backend api
	server api $UPSTREAM maxconn 1000
`
