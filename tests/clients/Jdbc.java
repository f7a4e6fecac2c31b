// pgjdbc through the gateway: batches, autosave, fetch size, COPY, LISTEN; prints "ok" at the end.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

public class Jdbc {
    static void check(boolean good, String what) {
        if (!good) throw new AssertionError(what);
    }

    public static void main(String[] arguments) throws Exception {
        Properties options = new Properties();
        options.setProperty("user", System.getenv("PGUSER"));
        options.setProperty("password", System.getenv("PGPASSWORD"));
        options.setProperty("prepareThreshold", "2");
        options.setProperty("autosave", "always");
        options.setProperty("sslmode", System.getenv("PGSSLMODE"));
        if (System.getenv("PGSSLROOTCERT") != null) options.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        try (Connection connection = DriverManager.getConnection(url, options)) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("DROP TABLE IF EXISTS cl_jdbc");
                statement.execute("CREATE TABLE cl_jdbc (id int PRIMARY KEY, name text)");
            }
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO cl_jdbc VALUES (?, ?)")) {
                for (int n = 0; n < 200; n++) {
                    insert.setInt(1, n);
                    insert.setString(2, "n" + n);
                    insert.addBatch();
                }
                check(insert.executeBatch().length == 200, "batch");
            }
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                try {
                    statement.execute("SELECT 1/0");
                    check(false, "no error");
                } catch (SQLException error) {
                    check("22012".equals(error.getSQLState()), error.toString());
                }
                statement.setFetchSize(30); // a portal with a row limit
                int rows = 0;
                try (ResultSet found = statement.executeQuery("SELECT * FROM cl_jdbc ORDER BY id")) {
                    while (found.next()) check(found.getInt(1) == rows++, "order");
                }
                check(rows == 200, "rows " + rows);
            }
            connection.commit();
            connection.setAutoCommit(true);
            PGConnection postgres = connection.unwrap(PGConnection.class);
            check(postgres.getCopyAPI().copyIn("COPY cl_jdbc FROM STDIN", new StringReader("500\tx\n")) == 1, "copy in");
            StringWriter out = new StringWriter();
            postgres.getCopyAPI().copyOut("COPY (SELECT * FROM cl_jdbc WHERE id = 500) TO STDOUT", out);
            check(out.toString().equals("500\tx\n"), out.toString());
            try (Statement statement = connection.createStatement()) {
                statement.execute("LISTEN cl_jdbc");
                statement.execute("NOTIFY cl_jdbc, 'hi'");
            }
            PGNotification[] notes = postgres.getNotifications(5000);
            check(notes != null && notes[0].getParameter().equals("hi"), "notification");
            try (ResultSet tables = connection.getMetaData().getTables(null, "public", "cl_jdbc", null)) {
                check(tables.next(), "getTables");
            }
            try (ResultSet columns = connection.getMetaData().getColumns(null, "public", "cl_jdbc", null)) {
                check(columns.next() && columns.getString("COLUMN_NAME").equals("id"), "getColumns");
            }
            try (ResultSet keys = connection.getMetaData().getPrimaryKeys(null, "public", "cl_jdbc")) {
                check(keys.next(), "getPrimaryKeys");
            }
        }
        System.out.println("ok");
    }
}
