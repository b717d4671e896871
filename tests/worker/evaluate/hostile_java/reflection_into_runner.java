// expect: sandbox_violation
// The frame above main holds the nonce; its class must not open.
import java.lang.reflect.Field;

class Problem {
    static long twice(long x) {
        try {
            Class<?> runner = Class.forName("quench.Runner");
            for (Field field : runner.getDeclaredFields()) {
                field.setAccessible(true);
                System.out.println(field.get(null));
            }
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
