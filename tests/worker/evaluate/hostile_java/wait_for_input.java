// expect: failed
// stdin is at its end.
import java.io.IOException;

class Problem {
    static long twice(long x) {
        try {
            return System.in.read();
        } catch (IOException error) {
            return 0;
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
