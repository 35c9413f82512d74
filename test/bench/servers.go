package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/andybalholm/brotli"

	"statiko/api"
	"statiko/certs"
	"statiko/test/cluster"
	"statiko/test/programs"
)

// serveOurs starts a node with one site that serves the page.
func serveOurs(ctx context.Context, b *bench) (_ *webServer, err error) {
	n, err := b.newNode("serving")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = joinStop(err, n)
		}
	}()
	if err := n.start(ctx); err != nil {
		return nil, err
	}
	data := cluster.Zip(map[string][]byte{"index.html": servedPage(), servedPath[1:]: servedPage()})
	if err := n.client.UploadApp(ctx, "page", "zip", bytes.NewReader(data), nil); err != nil {
		return nil, err
	}
	created := api.SiteCreate{Domain: servedHost, App: &api.SiteApp{Name: "page"}}
	if _, err := n.client.CreateSite(ctx, created, api.Wait(applyWait)); err != nil {
		return nil, err
	}
	if err := n.prober().until(ctx, site{domain: servedHost, text: "ten kilobytes"}, 20*time.Millisecond); err != nil {
		return nil, err
	}
	return &webServer{name: "statiko", process: n.Process, port: n.HTTPSPort, stop: n.stop}, nil
}

// otherFolder makes the folder of another server: the page in all forms, and a certificate like ours.
func (b *bench) otherFolder(name string) (dir string, err error) {
	dir = filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o755); err != nil {
		return "", err
	}
	certPEM, keyPEM, err := certs.SelfSigned(certs.Request{Names: []string{servedHost}})
	if err != nil {
		return "", err
	}
	var zipped, brotlied bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	br := brotli.NewWriterLevel(&brotlied, brotli.BestCompression)
	_, zErr := z.Write(servedPage())
	_, brErr := br.Write(servedPage())
	if err := errors.Join(zErr, brErr, z.Close(), br.Close()); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "files"+servedPath)
	return dir, errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), certPEM, 0o600), os.WriteFile(filepath.Join(dir, "key.pem"), keyPEM, 0o600),
		os.WriteFile(path, servedPage(), 0o644),
		os.WriteFile(path+".gz", zipped.Bytes(), 0o644), os.WriteFile(path+".br", brotlied.Bytes(), 0o644),
	)
}

// startOther starts another server with the configuration that text makes of its folder and port.
func (b *bench) startOther(ctx context.Context, name string, text func(dir string, port int) string, args ...string) (_ *webServer, err error) {
	program, err := exec.LookPath(name)
	if err != nil {
		if program = filepath.Join("/usr/sbin", name); exec.Command(program, "-v").Run() != nil {
			return nil, missingError{name, name}
		}
	}
	dir, err := b.otherFolder(name)
	if err != nil {
		return nil, err
	}
	ports, err := programs.FreePorts(1)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(text(dir, ports[0])), 0o600); err != nil {
		return nil, err
	}
	for i, a := range args {
		if a == "CONFIG" {
			args[i] = config
		}
	}
	env := cluster.CleanEnv("HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	p, err := cluster.StartProcess(dir, filepath.Join(dir, "log"), env, program, args...)
	if err != nil {
		return nil, err
	}
	if err := listening(ctx, p, net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))); err != nil {
		p.Terminate()
		return nil, err
	}
	return &webServer{name: name, process: p, port: ports[0], stop: func() error { p.Terminate(); return nil }}, nil
}

// serveNginx starts nginx: a worker for each core, sendfile, no log, connections that are never closed because of
// their age, and the cipher suite that Go chooses.
func serveNginx(ctx context.Context, b *bench) (*webServer, error) {
	return b.startOther(ctx, "nginx", func(dir string, port int) string {
		as := ""
		if u, err := user.Current(); err == nil && u.Uid == "0" {
			as = "user root;\n" // the folder is closed to others
		}
		return as + fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	gzip_static on;
	keepalive_requests 1000000000;
	open_file_cache max=100;
	types { text/html html; }
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 127.0.0.1:%[2]d ssl;
		server_name %[3]s;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/key.pem;
		ssl_protocols TLSv1.3;
		ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
		root %[1]s/files;
	}
}
`, dir, port, servedHost)
	}, "-p", b.dir, "-e", "stderr", "-c", "CONFIG")
}

// serveCaddy starts Caddy's file server without logs.
func serveCaddy(ctx context.Context, b *bench) (*webServer, error) {
	return b.startOther(ctx, "caddy", func(dir string, port int) string {
		return fmt.Sprintf(`{
	admin off
	auto_https off
	storage file_system %[1]s/storage
	log default {
		output discard
	}
	servers {
		protocols h1 h2
	}
}
https://%[3]s:%[2]d {
	bind 127.0.0.1
	tls %[1]s/cert.pem %[1]s/key.pem {
		protocols tls1.3 tls1.3
	}
	root * %[1]s/files
	file_server {
		precompressed br gzip
	}
}
`, dir, port, servedHost)
	}, "run", "--config", "CONFIG", "--adapter", "caddyfile")
}
