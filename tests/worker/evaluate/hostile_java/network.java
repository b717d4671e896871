// expect: failed
// There is no network: the kernel refuses every socket but a Unix one.
import java.io.IOException;
import java.net.Socket;

class Problem {
    static long twice(long x) {
        try (Socket socket = new Socket("127.0.0.1", 80)) {
            return socket.getPort();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
