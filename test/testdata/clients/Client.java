import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** java Client.java METHOD URL TOKEN: prints the status and the body. */
public class Client {
    public static void main(String[] args) throws Exception {
        var body = args[0].equals("POST") ? BodyPublishers.ofString("{\"name\":\"Ada\"}") : BodyPublishers.noBody();
        var request = HttpRequest.newBuilder(URI.create(args[1]))
                .method(args[0], body)
                .header("Authorization", "Bearer " + args[2])
                .build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body().strip());
    }
}
