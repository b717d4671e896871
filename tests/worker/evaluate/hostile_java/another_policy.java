// expect: sandbox_violation
// Asks a policy of its own.
import java.security.Policy;

class Problem {
    static long twice(long x) {
        Policy.setPolicy(null);
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
