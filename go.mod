module github.com/agiled/caddy-api-keys

go 1.26.0
