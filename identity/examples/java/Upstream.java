import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;

/**
 * An API behind the gateway that says who is calling. It needs Java 17 and Jackson, to read JSON.
 *
 * <p>JWKS_URL=https://api.example.com/.well-known/api-keys/jwks.json AUDIENCE=contacts
 * LISTEN=127.0.0.1:9000 java -cp 'jackson/*' Upstream.java
 */
class Upstream {
  /** The request does not prove that it came through the gateway: 401. */
  static class Refused extends Exception {
    Refused(String reason) {
      super(reason);
    }
  }

  static final ObjectMapper JSON =
      new ObjectMapper().configure(JsonParser.Feature.STRICT_DUPLICATE_DETECTION, true);

  /** The gateway's public keys. An IOException means that they cannot be fetched: 503. */
  static class Keys {
    record Known(Map<String, PublicKey> keys, long fetched) {}

    static final long SECOND = 1_000_000_000L, LONG_AGO = System.nanoTime() - 1_000_000 * SECOND;
    // What comes before the 32 bytes of an Ed25519 key in X.509 (RFC 8410).
    static final byte[] PREFIX = HexFormat.of().parseHex("302a300506032b6570032100");
    final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
    final URI url;
    volatile Known known = new Known(Map.of(), LONG_AGO);
    long tried = LONG_AGO;

    Keys(URI url) {
      this.url = url;
    }

    PublicKey key(String kid) throws IOException {
      Known now = known;
      PublicKey key = now.keys.get(kid);
      boolean fresh = System.nanoTime() - now.fetched < 300 * SECOND;
      return key != null && fresh ? key : refresh().keys.get(kid);
    }

    /** One fetch for all who wait, and none within ten seconds of another, whatever ids are invented. */
    synchronized Known refresh() throws IOException {
      long now = System.nanoTime();
      if (now - tried >= 10 * SECOND) {
        tried = now;
        known = new Known(fetch(), now);
      }
      if (now - known.fetched >= 300 * SECOND) throw new IOException("no keys of the gateway");
      return known;
    }

    Map<String, PublicKey> fetch() throws IOException {
      try {
        HttpRequest request = HttpRequest.newBuilder(url).timeout(Duration.ofSeconds(5)).build();
        HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) throw new IOException("status " + response.statusCode());
        Map<String, PublicKey> keys = new HashMap<>();
        for (JsonNode jwk : JSON.readTree(response.body()).path("keys")) {
          if (!jwk.path("crv").asText().equals("Ed25519")) continue;
          byte[] x = Base64.getUrlDecoder().decode(jwk.path("x").asText());
          byte[] spec = Arrays.copyOf(PREFIX, PREFIX.length + x.length);
          System.arraycopy(x, 0, spec, PREFIX.length, x.length);
          keys.put(
              jwk.path("kid").asText(),
              KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(spec)));
        }
        return keys;
      } catch (Exception e) {
        throw new IOException("fetching the keys of the gateway: " + e.getMessage());
      }
    }
  }

  final Keys keys;
  final String issuer, audience;

  Upstream(URI jwksUrl, String audience) {
    this.keys = new Keys(jwksUrl);
    this.issuer = jwksUrl.getScheme() + "://" + jwksUrl.getAuthority();
    this.audience = audience;
  }

  /** Returns the claims of a request with these X-API-Key-Assertion headers. */
  JsonNode caller(List<String> assertions, String method, String rawPath) throws Exception {
    if (assertions == null || assertions.size() != 1) throw new Refused("not exactly one assertion");
    String[] parts = assertions.get(0).split("\\.", -1);
    if (parts.length != 3) throw new Refused("not a compact JWS");
    try {
      JsonNode header = JSON.readTree(Base64.getUrlDecoder().decode(parts[0]));
      if (header.size() != 3 // alg, typ and kid: nothing that names a key or is critical
          || !header.path("alg").asText().equals("EdDSA")
          || !header.path("typ").asText().equals("api-key+jwt")) {
        throw new Refused("not an assertion");
      }
      PublicKey key = keys.key(header.path("kid").asText());
      if (key == null) throw new Refused("unknown key");
      Signature signature = Signature.getInstance("Ed25519");
      signature.initVerify(key);
      signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
      if (!signature.verify(Base64.getUrlDecoder().decode(parts[2]))) throw new Refused("bad signature");
      JsonNode claims = JSON.readTree(Base64.getUrlDecoder().decode(parts[1]));
      check(claims, method, rawPath);
      return claims;
    } catch (GeneralSecurityException | IllegalArgumentException | com.fasterxml.jackson.core.JacksonException e) {
      throw new Refused(e.getClass().getSimpleName());
    }
  }

  void check(JsonNode claims, String method, String rawPath) throws Refused {
    long now = Instant.now().getEpochSecond(), leeway = 5;
    long iat = claims.path("iat").asLong(), exp = claims.path("exp").asLong();
    if (!claims.path("iss").asText().equals(issuer)) throw new Refused("another issuer");
    if (!claims.path("aud").asText().equals(audience)) throw new Refused("another audience");
    if (iat <= 0 || exp < iat || exp - iat > 60) throw new Refused("no lifetime, or too long");
    if (now >= exp + leeway) throw new Refused("expired");
    if (now + leeway < iat) throw new Refused("from the future");
    for (String name : List.of("sub", "workspace_id", "access")) {
      if (claims.path(name).asText().isEmpty()) throw new Refused("no " + name);
    }
    if (!claims.path("method").asText(method).equals(method)
        || !claims.path("path").asText(rawPath).equals(rawPath)) {
      throw new Refused("for another request");
    }
  }

  void handle(HttpExchange exchange) throws IOException {
    int status = 200;
    Map<String, String> body;
    try {
      JsonNode claims =
          caller(
              exchange.getRequestHeaders().get("X-API-Key-Assertion"),
              exchange.getRequestMethod(),
              exchange.getRequestURI().getRawPath());
      body =
          Map.of(
              "workspace", claims.path("workspace_id").asText(),
              "key", claims.path("sub").asText(),
              "access", claims.path("access").asText());
    } catch (Refused e) {
      status = 401;
      body = Map.of("error", "Unauthorized.");
    } catch (Exception e) {
      status = 503;
      body = Map.of("error", "Service Unavailable.");
    }
    byte[] data = JSON.writeValueAsBytes(body);
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(status, data.length);
    exchange.getResponseBody().write(data);
    exchange.close();
  }

  public static void main(String[] args) throws Exception {
    Upstream upstream = new Upstream(URI.create(System.getenv("JWKS_URL")), System.getenv("AUDIENCE"));
    String[] listen = System.getenv("LISTEN").split(":");
    HttpServer server = HttpServer.create(new InetSocketAddress(listen[0], Integer.parseInt(listen[1])), 0);
    server.createContext("/", upstream::handle);
    server.setExecutor(Executors.newCachedThreadPool());
    server.start();
    System.out.println("listening on http://" + listen[0] + ":" + server.getAddress().getPort());
  }
}
