import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/**
 * java Upload.java VERSION URL TOKENS SIZE...: posts bodies of these sizes with each of the tokens, which commas
 * separate, and prints what was answered to each.
 */
public class Upload {
    public static void main(String[] args) throws Exception {
        var context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new TrustAll()}, null);
        var client = HttpClient.newBuilder().sslContext(context).version(Version.valueOf(args[0])).build();
        for (var token : args[2].split(",", -1)) {
            for (int i = 3; i < args.length; i++) {
                var request = HttpRequest.newBuilder(URI.create(args[1]))
                        .POST(BodyPublishers.ofByteArray(new byte[Integer.parseInt(args[i])]));
                if (!token.isEmpty()) {
                    request.header("Authorization", "Bearer " + token);
                }
                try {
                    var answer = client.send(request.build(), BodyHandlers.ofString());
                    System.out.println(answer.statusCode() + " " + answer.body().strip());
                } catch (java.io.IOException e) {
                    System.out.println(args[i] + " bytes: " + e);
                }
            }
        }
    }

    record TrustAll() implements X509TrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String type) {}

        public void checkServerTrusted(X509Certificate[] chain, String type) {}

        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
